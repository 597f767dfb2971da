"""Onset frames of many clips: order, batches, unreadable clips, bounded reading ahead."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from faces import onset as onset_module
from faces.detector import Detector
from faces.onset import clip_stamp, detect_onsets, frame_digest, read_onset
from media import write_frame_folder, write_image
from tests.faces.pictures import made_up_face, noise


class Recording(Detector):
    """Finds as many faces in a picture as its top left pixel is red, and notes the batches it is given."""

    name, version, device = "recording", "1", "cpu"

    def __init__(self, batch_size: int):
        self.batch_size, self.batches, self.threads = batch_size, [], set()

    def detect(self, image):
        return self.detect_batch([image])[0]

    def detect_batch(self, images):
        self.batches.append(len(images))
        self.threads.add(threading.current_thread().name.split("_")[0])
        return [[made_up_face((0, 0, 4, 4))] * int(image[0, 0, 0]) for image in images]


@pytest.fixture
def clips(tmp_path):
    """Seven pictures with 0, 1, 2 … in the corner; number 3 is broken."""
    paths = [tmp_path / f"{index}.png" for index in range(7)]
    for index, path in enumerate(paths):
        write_image(path, np.full((8, 8, 3), index, np.uint8))
    paths[3].write_bytes(b"no picture")
    return paths


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_order_batches_and_errors(clips, batch_size, workers):
    detector = Recording(batch_size)
    onsets = list(detect_onsets(detector, clips, workers))
    assert [onset.path for onset in onsets] == clips
    assert [len(onset.faces) for onset in onsets] == [0, 1, 2, 0, 4, 5, 6]
    assert [bool(onset.error) for onset in onsets] == [False] * 3 + [True] + [False] * 3
    assert onsets[3].frame is None and "3.png" in onsets[3].error
    assert sum(detector.batches) == 6 and max(detector.batches) <= batch_size
    # One that takes batches is never called from two threads.
    assert detector.threads == ({"onset"} if batch_size == 1 else {"MainThread"})


@pytest.mark.parametrize("batch_size", [1, 2])
def test_reading_ahead_is_bounded(clips, monkeypatch, batch_size):
    """Of many clips, only a few frames are in memory while the first is being used."""
    read = []
    original = onset_module.read_onset

    def counting(path, frame_size=None):
        read.append(path)
        return original(path, frame_size)

    monkeypatch.setattr(onset_module, "read_onset", counting)
    onsets = detect_onsets(Recording(batch_size), clips * 20, workers=2)
    next(onsets)
    onsets.close()
    assert 1 <= len(read) <= 2 * batch_size + 4


def test_no_clips():
    assert list(detect_onsets(Recording(4), [])) == []
    with pytest.raises(ValueError, match="workers is 0"):
        list(detect_onsets(Recording(1), [], workers=0))


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
