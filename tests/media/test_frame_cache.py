"""The cache of decoded clips: the same frames, never old ones, no more than it may hold."""

from __future__ import annotations

import os
import time
import warnings

import numpy as np
import pytest

from media import MediaError, OutputError, frame_cache, open_clip, write_clip, write_frame_folder, write_image
from media.atomic import ABANDONED
from media.frame_cache import FrameCache
from tests.pictures import noise, write_strip

TICK = 0.02  # seconds; the times of files are no finer than the kernel's clock, 0.01 at most


@pytest.fixture
def decoded(monkeypatch):
    """Notes the clips that are decoded."""
    paths = []

    def counting(path, frame_size=None):
        paths.append(path)
        return open_clip(path, frame_size)

    monkeypatch.setattr(frame_cache, "open_clip", counting)
    return paths


@pytest.mark.parametrize("kind", ["folder", "strip.png", "clip.gif", "clip.mp4"])
def test_clips_of_every_kind_are_decoded_once(tmp_path, decoded, kind):
    path, frames = tmp_path / kind, noise(5, 32, 32)
    if path.suffix == ".png":
        write_strip(path, frames)
    else:
        write_clip(path, frames, 25)
    expected = open_clip(path).read([4, 0, 0])
    for _ in range(2):  # another process is another object
        clip = FrameCache(tmp_path / "cache").open(path)
        assert (clip.path, len(clip)) == (path, 5)
        assert np.array_equal(clip.read([4, 0, 0]), expected)
    assert decoded == [path]


def test_a_changed_clip_is_decoded_anew(tmp_path, decoded):
    """Whether a frame is replaced, written over with its size and time kept, added or taken away."""
    path, cache = tmp_path / "clip", FrameCache(tmp_path / "cache")
    for number in range(3):
        write_image(path / f"{number}.bmp", noise(1, 8, 8, seed=number)[0])
    cache.open(path)

    def write_over():
        before = (path / "0.bmp").stat()
        write_image(tmp_path / "other.bmp", noise(1, 8, 8, seed=9)[0])
        (path / "0.bmp").write_bytes((tmp_path / "other.bmp").read_bytes())
        os.utime(path / "0.bmp", ns=(before.st_atime_ns, before.st_mtime_ns))

    changes = [
        lambda: write_image(path / "1.bmp", noise(1, 8, 8, seed=7)[0]),
        write_over,
        lambda: write_image(path / "3.bmp", noise(1, 8, 8, seed=8)[0]),
        lambda: (path / "2.bmp").unlink(),
    ]
    for number, change in enumerate(changes, start=2):
        time.sleep(TICK)
        change()
        assert np.array_equal(cache.open(path).read_all(), open_clip(path).read_all())
        assert len(decoded) == number
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 1, "what the clip was is not kept"


def test_a_strip_is_kept_for_each_way_to_cut_it(tmp_path):
    write_strip(tmp_path / "strip.png", noise(4, 16, 16))
    cache = FrameCache(tmp_path / "cache")
    assert [len(cache.open(tmp_path / "strip.png", size)) for size in (None, (16, 32), None)] == [4, 2, 4]


def test_it_holds_no_more_than_it_may(tmp_path, decoded):
    for name in "abc":
        write_frame_folder(tmp_path / name, noise(4, 16, 16))
    cache = FrameCache(tmp_path / "cache", gigabytes=2.5 * 4 * 16 * 16 * 3 / 1e9)
    cache.open(tmp_path / "a"), cache.open(tmp_path / "b")
    with pytest.warns(UserWarning, match="Raise dataset_params.frame_cache.gigabytes"):
        cache.open(tmp_path / "c")
    with warnings.catch_warnings():  # said once
        warnings.simplefilter("error")
        assert np.array_equal(cache.open(tmp_path / "c").read([3]), open_clip(tmp_path / "c").read([3]))
    assert sum(file.stat().st_size for file in (tmp_path / "cache").glob("*.npy")) <= cache.gigabytes * 1e9
    assert [path.name for path in decoded] == ["a", "b", "c", "c"]


def test_what_is_being_written_counts(tmp_path):
    """By another process, or by one that was killed meanwhile."""
    write_frame_folder(tmp_path / "a", noise(4, 16, 16))
    unfinished = tmp_path / "cache" / ".0-0.npy.abc.part" / "0-0.npy"
    unfinished.parent.mkdir(parents=True)
    unfinished.write_bytes(bytes(1000))
    with pytest.warns(UserWarning, match="Raise dataset_params.frame_cache.gigabytes"):
        FrameCache(tmp_path / "cache", gigabytes=4 * 16 * 16 * 3 / 1e9 + 5e-7).open(tmp_path / "a")


def test_what_killed_processes_left_is_removed(tmp_path):
    """And what is being written now is not."""
    old, new = (tmp_path / "cache" / f".{name}.npy.0123456789ab-1.abc.part" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "clip.npy").write_bytes(b"some")
    before = time.time() - 2 * ABANDONED
    for path in (old / "clip.npy", old):
        os.utime(path, (before, before))
    FrameCache(tmp_path / "cache")
    assert not old.exists()
    assert (new / "clip.npy").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OutputError, match="frame_cache.folder .*cache: a file is where a folder is needed"):
        FrameCache(tmp_path / "cache")


def test_a_clip_that_changes_while_it_is_decoded_is_not_kept(tmp_path, monkeypatch):
    path, cache = tmp_path / "clip", FrameCache(tmp_path / "cache")
    write_frame_folder(path, noise(2, 8, 8))

    def being_written(path, frame_size=None):
        clip = open_clip(path, frame_size)
        time.sleep(TICK)
        write_image(path / "0000001.png", noise(1, 8, 8, seed=5)[0])
        return clip

    monkeypatch.setattr(frame_cache, "open_clip", being_written)
    cache.open(path)
    assert not list((tmp_path / "cache").glob("*.npy"))


def test_what_cannot_be_read_is_named(tmp_path):
    cache = FrameCache(tmp_path / "cache")
    with pytest.raises(MediaError, match="absent"):
        cache.open(tmp_path / "absent")
    write_frame_folder(tmp_path / "clip", noise(3, 8, 8))
    cache.open(tmp_path / "clip")
    [file] = (tmp_path / "cache").glob("*.npy")
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(MediaError, match=f"{file.name} is damaged.*delete it"):
        cache.open(tmp_path / "clip")


def test_clips_that_are_read_in_another_way_are_decoded_anew(tmp_path, decoded, monkeypatch):
    """What an older version has left in the cache may be other frames."""
    write_frame_folder(tmp_path / "clip", noise(2))
    FrameCache(tmp_path / "cache").open(tmp_path / "clip")
    monkeypatch.setattr(frame_cache, "READING", frame_cache.READING + 1)
    FrameCache(tmp_path / "cache").open(tmp_path / "clip")
    assert len(decoded) == 2
