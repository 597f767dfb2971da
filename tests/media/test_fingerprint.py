"""Fingerprints: content decides, and is read only where a file may have changed."""

from __future__ import annotations

import os
import shutil

import pytest

from media import MediaError, write_frame_folder
from media.fingerprint import Fingerprint, content_digest, file_state
from tests.pictures import noise


def test_of_a_folder(tmp_path, monkeypatch):
    clip = tmp_path / "clip"
    write_frame_folder(clip, noise(3))
    before = Fingerprint.of(clip)
    assert before.fits(clip) and Fingerprint.parse(str(before)) == before
    (clip / "Thumbs.db").write_text("no frame")
    shutil.copytree(clip, tmp_path / "copy")
    os.utime(clip / "0000001.png", (0, 0))
    for path in (clip, tmp_path / "copy"):
        assert file_state(path) != before.state and before.fits(path), "a copy, or another date"
    (clip / "Thumbs.db").unlink()
    write_frame_folder(clip, noise(3)[[0, 2, 1]])
    assert not before.fits(clip), "the order counts"
    write_frame_folder(clip, noise(2))
    assert not before.fits(clip)
    now = Fingerprint.of(clip)
    monkeypatch.setattr("media.fingerprint.content_digest", lambda path: pytest.fail("it was read"))
    assert now.fits(clip)


def test_same_size_and_dates_are_another_file_still(tmp_path):
    """As ``cp -p`` and archives restore them."""
    file = tmp_path / "a.mp4"
    file.write_bytes(b"one")
    os.utime(file, ns=(10**18, 10**18))
    before = Fingerprint.of(file)
    file.write_bytes(b"two")
    os.utime(file, ns=(10**18, 10**18))
    assert not before.fits(file)


def test_what_is_no_file(tmp_path):
    assert Fingerprint.parse(None) is Fingerprint.parse("a b c") is Fingerprint.parse("") is None
    with pytest.raises(OSError):
        Fingerprint.of(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(MediaError, match=r"pipe\.png is no file"):
        content_digest(tmp_path)
