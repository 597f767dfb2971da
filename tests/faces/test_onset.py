"""Onset frames of many clips: order, batches, unreadable clips, bounded reading ahead."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest

from faces import dlib_model_file
from faces import onset as onset_module
from faces.detector import Detector, DetectorUnavailable
from faces.dlib_backend import LANDMARK_MODEL
from faces.onset import OnsetDetector, clip_stamp, frame_digest, read_onset
from media import write_frame_folder, write_image
from tests.faces.pictures import made_up_face, noise


class Recording(Detector):
    """Finds as many faces in a picture as its top left pixel is red, scores them with its process's number, and notes
    the batches it is given."""

    name, version, device = "recording", "1", "cpu"
    model_file = dlib_model_file(LANDMARK_MODEL)  # the suite has one fork server, and other tests need this model

    def __init__(self, batch_size: int):
        self.batch_size, self.batches, self.threads = batch_size, [], set()

    def detect(self, image):
        return self.detect_batch([image])[0]

    def detect_batch(self, images):
        self.batches.append(len(images))
        self.threads.add(threading.current_thread().name)
        face = replace(made_up_face((0, 0, 4, 4)), score=os.getpid())
        return [[face] * int(image[0, 0, 0]) for image in images]


class Deadly(Detector):
    """Ends the process that it works in, as the system does where memory runs out."""

    name, version, device = "deadly", "1", "cpu"

    def detect(self, image):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def clips(tmp_path):
    """Seven pictures with 0, 1, 2 … in the corner; number 3 is broken."""
    paths = [tmp_path / f"{index}.png" for index in range(7)]
    for index, path in enumerate(paths):
        write_image(path, np.full((8, 8, 3), index, np.uint8))
    paths[3].write_bytes(b"no picture")
    return paths


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (1, 2), (4, 1), (4, 3), (16, 3)])
def test_order_batches_and_errors(clips, batch_size, workers):
    detector = Recording(batch_size)
    with OnsetDetector(detector, workers) as detect:
        onsets = list(detect(clips))
        assert [onset.path for onset in detect(clips[5:])] == clips[5:], "and again"
    assert [onset.path for onset in onsets] == clips
    assert [len(onset.faces) for onset in onsets] == [0, 1, 2, 0, 4, 5, 6]
    assert [bool(onset.error) for onset in onsets] == [False] * 3 + [True] + [False] * 3
    assert onsets[3].frame is None and "3.png" in onsets[3].error
    here = {int(face.score) == os.getpid() for onset in onsets for face in onset.faces}
    if batch_size == 1:
        assert here == {False} and not detector.batches, "in other processes"
    else:
        assert here == {True} and detector.threads == {"MainThread"}, "never from two threads"
        assert sum(detector.batches) == 6 + 2 and max(detector.batches) <= batch_size


def test_reading_ahead_is_bounded(clips, monkeypatch):
    """Of many clips, only a few frames are in memory while the first is being used."""
    read = []
    original = onset_module.read_onset

    def counting(path, frame_size=None):
        read.append(path)
        return original(path, frame_size)

    monkeypatch.setattr(onset_module, "read_onset", counting)
    with OnsetDetector(Recording(2), workers=2) as detect:
        onsets = detect(clips * 20)
        next(onsets)
        onsets.close()
    assert 1 <= len(read) <= 2 * 2 + 4


def test_a_killed_process_is_named(clips):
    with OnsetDetector(Deadly(), workers=2) as detect, pytest.raises(DetectorUnavailable, match="lower --workers"):
        list(detect(clips))


def test_no_clips():
    with OnsetDetector(Recording(4)) as detect:
        assert list(detect([])) == []
    with pytest.raises(ValueError, match="workers is 0"):
        OnsetDetector(Recording(1), workers=0)


def test_digest_sees_every_pixel_and_the_shape():
    frame = noise(8, 8)
    other = frame.copy()
    other[7, 7, 2] ^= 1
    assert frame_digest(frame) == frame_digest(frame.copy()) != frame_digest(other)
    assert frame_digest(np.zeros((4, 8, 3), np.uint8)) != frame_digest(np.zeros((8, 4, 3), np.uint8))


def test_stamp_is_that_of_the_onset_frame(tmp_path):
    write_frame_folder(tmp_path / "clip", [noise(8, 8)] * 2)
    before = clip_stamp(tmp_path / "clip")
    write_image(tmp_path / "clip/0000001.png", noise(16, 16))
    assert clip_stamp(tmp_path / "clip") == before
    write_image(tmp_path / "clip/0000000.png", noise(16, 16))
    assert clip_stamp(tmp_path / "clip") != before


def test_onset_of_nothing(tmp_path):
    onset = read_onset(tmp_path / "absent.mp4")
    assert onset.frame is None and "absent.mp4" in onset.error and onset.faces == []
