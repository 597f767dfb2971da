"""Reading ahead and writing behind: the same items and errors as without threads, bounded, and no thread stays."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Iterator

import pytest
import torch

from media.threads import WriteBehind, read_ahead, threads_pay

PATIENCE = 30.0  # seconds, for what happens at once unless something is wrong


@pytest.fixture(autouse=True)
def no_thread_stays():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def failing(count: int, error: BaseException) -> Iterator[int]:
    yield from range(count)
    raise error


class Written:
    """A writer that keeps what it gets, and loses it where an error interrupts it."""

    def __init__(self):
        self.items, self.whole, self.thread = [], False, None

    def __call__(self, items: Iterator[int]) -> None:
        self.thread = threading.current_thread()
        try:
            for item in items:
                self.items.append(item)
            self.whole = True
        finally:
            if not self.whole:
                self.items.clear()


def test_networks_on_the_processor_are_not_disturbed():
    assert [threads_pay(torch.device(name)) for name in ("cpu", "cuda", "mps")] == [False, True, True]


# ------------------------------------------------------------------------------------------ reading
@pytest.mark.parametrize("active", [False, True])
def test_items_and_errors_come_as_they_are(active):
    assert list(read_ahead(range(9), active)) == list(range(9))
    assert list(read_ahead([], active)) == []
    error, got = OSError("unreadable"), []
    with pytest.raises(OSError) as found:
        for item in read_ahead(failing(3, error), active):
            got.append(item)
    assert got == [0, 1, 2] and found.value is error


def test_reading_goes_ahead_to_a_bound():
    made, fourth = [], threading.Event()

    def read() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            if number == 3:
                fourth.set()
            yield number

    for given in read_ahead(read(), True, depth=3):
        assert len(made) <= given + 1 + 3
        if given == 0:
            assert fourth.wait(PATIENCE), "read while the first is being used"
    assert made == list(range(20))


def test_closed_reading_ends_its_thread():
    closed = []

    def read() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            closed.append(True)

    items = read_ahead(read(), True)
    assert [next(items), next(items)] == [0, 1]
    items.close()
    assert closed


def test_interrupted_reading():
    """Ctrl-C while an item is being made."""

    def read() -> Iterator[int]:
        yield 0
        os.kill(os.getpid(), signal.SIGINT)
        yield from range(1, 1_000_000)

    with pytest.raises(KeyboardInterrupt):
        for _ in read_ahead(read(), True):
            pass


# ------------------------------------------------------------------------------------------ writing
@pytest.mark.parametrize("active", [False, True])
def test_everything_is_written(active):
    first, second = Written(), Written()
    with WriteBehind(active, depth=3) as behind:
        behind(first, range(50))
        behind(second, iter("abc"))
    assert first.items == list(range(50)) and second.items == list("abc")
    assert (first.thread is not threading.current_thread()) is active


def test_items_are_made_in_the_calling_thread_and_few_wait():
    made, taken, gate = [], [], threading.Event()

    def make() -> Iterator[int]:
        for number in range(20):
            made.append(threading.current_thread())
            if number == 4:  # three wait, and one is being written
                gate.set()
            assert number - len(taken) <= 5
            yield number

    def write(items: Iterator[int]) -> None:
        for item in items:
            assert gate.wait(PATIENCE), "made while the first is being written"
            taken.append(item)

    with WriteBehind(True, depth=3) as behind:
        behind(write, make())
    assert taken == list(range(20)) and set(made) == {threading.current_thread()}


def test_a_clip_is_finished_while_the_next_one_comes():
    next_comes = threading.Event()

    def finish_late(items: Iterator[int]) -> None:
        assert list(items) == [1, 2]
        assert next_comes.wait(PATIENCE)

    def following() -> Iterator[int]:
        next_comes.set()
        yield 3

    second = Written()
    with WriteBehind(True) as behind:
        behind(finish_late, [1, 2])
        behind(second, following())
    assert second.items == [3]


@pytest.mark.parametrize("active", [False, True])
@pytest.mark.parametrize("error", [OSError("unreadable"), KeyboardInterrupt()])
def test_failed_items_undo_what_is_written(active, error):
    written = Written()
    with pytest.raises(type(error)) as found, WriteBehind(active, depth=2) as behind:
        behind(written, failing(9, error))
    assert found.value is error and written.items == [] and not written.whole


@pytest.mark.parametrize("active", [False, True])
def test_a_writer_may_deal_with_failed_items(active):
    failures, after = [], Written()

    def write(items: Iterator[int]) -> None:
        try:
            list(items)
        except OSError as error:
            failures.append(str(error))

    with WriteBehind(active) as behind:
        behind(write, failing(2, OSError("unreadable")))
        behind(after, range(3))
    assert failures == ["unreadable"] and after.items == [0, 1, 2]


@pytest.mark.parametrize("active", [False, True])
def test_a_failing_writer_stops_the_items(active):
    error = OSError("the disk is full")

    def write(items: Iterator[int]) -> None:
        for item in items:
            if item == 5:
                raise error

    with pytest.raises(OSError) as found, WriteBehind(active, depth=1) as behind:
        behind(write, itertools.count())
    assert found.value is error


@pytest.mark.parametrize("active", [False, True])
def test_a_writer_may_stop_early(active):
    with WriteBehind(active, depth=1) as behind:
        behind(lambda items: [next(items), next(items)], itertools.count())


def test_a_clip_that_cannot_be_finished():
    """The error comes out of the next clip, which is undone, or at the end."""
    error, second = OSError("the disk is full"), Written()
    with pytest.raises(OSError) as found, WriteBehind(True) as behind:
        behind(lambda items: list(items) and _raise(error), [1])
    assert found.value is error
    with pytest.raises(OSError) as found, WriteBehind(True, depth=1) as behind:
        behind(lambda items: list(items) and _raise(error), [1])
        behind(second, itertools.count())
    assert found.value is error and second.items == []


def _raise(error: Exception) -> None:
    raise error


def test_interrupted_writing():
    """Ctrl-C while the calling thread waits for the writer."""
    written = Written()

    def write(items: Iterator[int]) -> None:
        next(items)
        os.kill(os.getpid(), signal.SIGINT)
        written(items)

    with pytest.raises(KeyboardInterrupt), WriteBehind(True, depth=1) as behind:
        behind(write, itertools.count())
    assert written.items == [] and not written.whole


def test_an_interruption_is_not_taken_for_the_failure_that_it_causes():
    def write(items: Iterator[int]) -> None:
        try:
            list(items)
        except KeyboardInterrupt:
            raise OSError("the encoder was interrupted too") from None

    with pytest.raises(KeyboardInterrupt), WriteBehind(True) as behind:
        behind(write, failing(3, KeyboardInterrupt()))


def test_interrupted_between_two_clips():
    written = Written()
    with pytest.raises(KeyboardInterrupt), WriteBehind(True) as behind:
        behind(written, range(3))
        raise KeyboardInterrupt
    assert written.items == [0, 1, 2], "all of it had come"
