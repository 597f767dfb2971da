"""Pairs scored side by side, in processes of their own: most of the work is optical flow, the rest is Python."""

from __future__ import annotations

import math
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import cv2
from tqdm import tqdm

from parallel.workers import start_worker, usable_cores

from .pair_scorer import PairScorer
from .pairs import EvaluationError, Pair
from .report import ScoredPair

LEAST_PAIRS = 4  # a worker, which takes seconds to start, is not started for fewer
LEAST_CHUNK = 8

_scorer: PairScorer | None = None  # of a worker process


def default_workers(pairs: int) -> int:
    """The cores this process may use, but at least four pairs for each."""
    return max(1, min(usable_cores(), pairs // LEAST_PAIRS))


def chunks(pairs: Sequence[Pair], workers: int) -> list[list[int]]:
    """Indices of ``pairs`` for one worker after another: those of one driving clip together, so it is measured once.

    A driving clip with so many pairs that others would wait for its worker is shared out.
    """
    by_driving: dict[str, list[int]] = {}
    for index, pair in enumerate(pairs):
        by_driving.setdefault(pair.driving, []).append(index)
    limit = max(LEAST_CHUNK, math.ceil(len(pairs) / (4 * workers)))
    return [
        part
        for group in by_driving.values()
        for count in [math.ceil(len(group) / limit)]
        for part in [group[number::count] for number in range(count)]
    ]


def score_all(pairs: Sequence[Pair], scorer: PairScorer, workers: int | None = None) -> list[ScoredPair]:
    """What every pair gave, in their order.

    Args:
        scorer: each process gets a copy.
        workers: processes; 1: this one; default: :func:`default_workers`.

    Raises:
        EvaluationError: no worker is asked for, or one was killed.
    """
    workers = default_workers(len(pairs)) if workers is None else workers
    if workers < 1:
        raise EvaluationError(f"--workers is {workers}; at least 1 is needed")
    parts = chunks(pairs, workers)
    outcomes: dict[int, ScoredPair] = {}
    with tqdm(total=len(pairs), desc="evaluate", unit="pair") as bar:
        if workers == 1 or len(parts) == 1:
            threads = cv2.getNumThreads()
            cv2.setNumThreads(1)  # flow is hardly faster with them, and many evaluations run beside each other
            try:
                for index in (index for part in parts for index in part):
                    outcomes[index] = scorer(pairs[index])
                    bar.update()
            finally:
                cv2.setNumThreads(threads)
            return [outcomes[index] for index in range(len(pairs))]
        # Spawned, not forked: forking a process that has started threads can hang.
        with ProcessPoolExecutor(min(workers, len(parts)), get_context("spawn"), _start, (scorer,)) as pool:
            found = pool.map(_score, ([pairs[index] for index in part] for part in parts))
            try:
                for part in parts:
                    outcomes.update(zip(part, next(found), strict=True))
                    bar.update(len(part))
            except BrokenProcessPool as error:
                raise EvaluationError(
                    f"one of {workers} processes was killed, most likely because memory ran out: lower --workers"
                ) from error
    return [outcomes[index] for index in range(len(pairs))]


def _start(scorer: PairScorer) -> None:
    global _scorer
    cv2.setNumThreads(1)
    start_worker(signal.SIG_DFL)  # Ctrl-C ends a worker without a word; the parent says it
    _scorer = scorer


def _score(pairs: Sequence[Pair]) -> list[ScoredPair]:
    return [_scorer(pair) for pair in pairs]
