"""Many independent jobs over the processor cores, with a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

import cv2
from tqdm import tqdm

from parallel.workers import start_worker

Job, Result = TypeVar("Job"), TypeVar("Result")


def run_parallel(
    function: Callable[[Job], Result], jobs: Sequence[Job], sizes: Sequence[int], workers: int, unit: str = "frame"
) -> Iterator[Result]:
    """``function(job)`` of every job, in the order in which they finish.

    Args:
        function, jobs: picklable where ``workers`` is above 1.
        sizes: of each job in ``unit``s, for the progress bar.
        workers: processes; 1 works in this one.

    An error or an interruption stops what has not begun; what has begun is finished.
    """
    with tqdm(total=sum(sizes), unit=unit, disable=not jobs) as bar:
        if workers == 1 or len(jobs) < 2:
            for job, size in zip(jobs, sizes, strict=True):
                result = function(job)
                bar.update(size)
                yield result
            return
        # Spawned, not forked: forking a process that has started threads can hang.
        with ProcessPoolExecutor(min(workers, len(jobs)), get_context("spawn"), _start_worker) as pool:
            running = {pool.submit(function, job): size for job, size in zip(jobs, sizes, strict=True)}
            try:
                for done in as_completed(running):
                    result = done.result()
                    bar.update(running[done])
                    yield result
            except BaseException:  # an interruption too: do not work on through the rest
                pool.shutdown(cancel_futures=True)
                raise


def _start_worker() -> None:
    cv2.setNumThreads(1)
    start_worker()
