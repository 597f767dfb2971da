"""Writing of clips: atomic, streamed, and never silently cut short."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import media
from media import MediaError
from tests.pictures import leftovers, noise, smooth

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "folder"])
def test_write_clip_chooses_by_suffix(tmp_path, name):
    media.write_clip(tmp_path / name, smooth(4), 25)
    assert len(media.open_clip(tmp_path / name)) == 4
    with pytest.raises(MediaError, match=r"\.avi.*legal"):
        media.write_clip(tmp_path / "a.avi", smooth(4), 25)


# ------------------------------------------------------------------------------------------ atomic writing
WRITERS = {
    "a.mp4": partial(media.write_clip, fps=25),
    "a.gif": partial(media.write_clip, fps=25),
    "a": media.write_frame_folder,
}


def contents(path: Path) -> dict[str, bytes] | bytes:
    return {p.name: p.read_bytes() for p in path.iterdir()} if path.is_dir() else path.read_bytes()


@pytest.mark.parametrize("name", list(WRITERS))
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_interrupted_writing_leaves_what_was_there(tmp_path, name, error):
    def failing():
        yield from smooth(4)[::-1]
        raise error("in the middle")

    with pytest.raises(error):
        WRITERS[name](tmp_path / name, failing())
    assert leftovers(tmp_path) == []
    WRITERS[name](tmp_path / name, smooth(4))
    before = contents(tmp_path / name)
    with pytest.raises(error):
        WRITERS[name](tmp_path / name, failing())
    assert leftovers(tmp_path) == [name]
    assert contents(tmp_path / name) == before
    WRITERS[name](tmp_path / name, smooth(4)[::-1])
    assert leftovers(tmp_path) == [name]
    assert contents(tmp_path / name) != before


@pytest.mark.parametrize("name", list(WRITERS))
def test_no_frames_write_nothing(tmp_path, name):
    with pytest.raises(MediaError, match="no frames to write"):
        WRITERS[name](tmp_path / name, iter(()))
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("name", ["a.mp4", "a.gif"])
def test_frames_of_two_sizes_are_refused(tmp_path, name):
    with pytest.raises(MediaError, match=r"\(16, 32, 3\) does not fit a clip of \(32, 32, 3\)"):
        WRITERS[name](tmp_path / name, [noise(1)[0], noise(1, 16, 32)[0]])
    assert leftovers(tmp_path) == []


def test_folder_is_replaced_whole(tmp_path):
    media.write_frame_folder(tmp_path / "a", noise(5))
    media.write_frame_folder(tmp_path / "a", noise(2, seed=1))
    assert leftovers(tmp_path / "a") == ["0000000.png", "0000001.png"]


def test_folder_comes_back_when_it_cannot_be_replaced(tmp_path, monkeypatch):
    media.write_frame_folder(tmp_path / "a", noise(2))
    before = contents(tmp_path / "a")
    replace = os.replace

    def refusing(source, destination):
        if Path(destination) == tmp_path / "a":
            raise OSError("refused")
        replace(source, destination)

    monkeypatch.setattr(os, "replace", refusing)
    with pytest.raises(OSError, match="refused"):
        media.write_frame_folder(tmp_path / "a", noise(2, seed=1))
    assert contents(tmp_path / "a") == before
    assert leftovers(tmp_path) == ["a"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_full_disk_is_said(tmp_path):
    """A write that really fails with ENOSPC names the destination, and leaves the old file."""
    (tmp_path / "a.bin").write_bytes(b"old")
    with (
        pytest.raises(OSError, match=r"cannot write .*a\.bin: the disk is full"),
        media.atomic_path(tmp_path / "a.bin") as temporary,
    ):
        temporary.symlink_to("/dev/full")
        temporary.write_bytes(b"new" * 10000)
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert leftovers(tmp_path) == ["a.bin"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
@pytest.mark.parametrize("count", [20, 90])
def test_video_cut_short_by_the_system_is_an_error(tmp_path, count):
    """ffmpeg hits a limit on file sizes while writing: no broken video may appear under the final name.

    Short clips are written only when ffmpeg is closed, long ones while frames are still coming.
    """
    program = f"""
        import resource, signal, sys
        sys.path.insert(0, {str(ROOT)!r})
        import numpy, media
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        frames = numpy.random.default_rng(0).integers(0, 256, ({count}, 64, 64, 3), dtype=numpy.uint8)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
        try:
            media.write_clip({str(tmp_path / "a.mp4")!r}, frames, 25)
        except OSError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert "a.mp4: ffmpeg failed" in done.stdout, done.stderr
    assert leftovers(tmp_path) == []


def test_file_in_the_way_of_a_folder(tmp_path):
    (tmp_path / "a").write_text("a file")
    with pytest.raises(OSError, match="a file is where a folder is needed"):
        media.write_image(tmp_path / "a" / "b.png", noise(1)[0])
    with pytest.raises(OSError, match="a file is where a folder is needed"):
        media.write_frame_folder(tmp_path / "a", noise(1))
    assert (tmp_path / "a").read_text() == "a file"


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((8, 8), np.uint8), r"uint8 \(8, 8\): legal is uint8 \(H, W, 3\)"),
        (np.ones((8, 8, 3), np.float32), "float32"),
        (np.ones((8, 8, 3), np.uint16), "uint16"),
        (np.zeros((1, 1_100_000, 3), np.uint8), "cannot write a PNG of 1100000×1"),
    ],
)
def test_frames_that_no_png_can_be_made_of(tmp_path, image, said):
    with pytest.raises(MediaError, match=said):
        media.write_frame_folder(tmp_path / "a", [image])
    assert leftovers(tmp_path) == []


# ------------------------------------------------------------------------------------------ streaming
@pytest.mark.parametrize("name", ["a.mp4", "a"])
def test_writers_do_not_hold_the_clip(tmp_path, name):
    """Of 400 frames handed over one by one, no more than a few are alive at any time."""
    alive, most = 0, 0

    class Frame(np.ndarray):
        def __del__(self):
            nonlocal alive
            alive -= self.base is None

    def frames():
        nonlocal alive, most
        for index in range(400):
            frame = Frame((8, 8, 3), np.uint8)
            frame[:] = index % 256
            alive += 1
            most = max(most, alive)
            yield frame
            del frame

    WRITERS[name](tmp_path / name, frames())
    assert most <= 3
    written = tmp_path / ("a" if name == "a.png" else name)
    assert len(media.open_clip(written)) == 400


def test_a_gif_keeps_what_stays_only_once(tmp_path):
    """A busy picture of 64 colours in which two far corners change: every frame is whole, and hardly costs anything."""
    palette = np.random.default_rng(0).integers(0, 256, (64, 3)).astype(np.uint8)
    picture = palette[np.random.default_rng(1).integers(0, 64, (120, 160))]
    frames = np.stack([picture] * 10)
    for index in range(10):
        frames[index, :4, :4] = palette[index]
        frames[index, -4:, -4:] = palette[index + 10]
    media.write_clip(tmp_path / "a.gif", frames, 25)
    media.write_clip(tmp_path / "first.gif", frames[:1], 25)
    assert np.array_equal(media.open_clip(tmp_path / "a.gif").read_all(), frames)
    assert (tmp_path / "a.gif").stat().st_size < 2 * (tmp_path / "first.gif").stat().st_size


def test_long_gif_is_not_mapped_into_memory(tmp_path, monkeypatch):
    """What was read of a mapped file stays resident: 2 GB for a clip of 10,000 frames."""
    monkeypatch.setattr(np, "memmap", lambda *arguments, **options: pytest.fail("the whole clip was mapped"))
    media.write_clip(tmp_path / "a.gif", (np.full((4, 64, 3), 15 * index, np.uint8) for index in range(8)), 25)
    frames = media.open_clip(tmp_path / "a.gif").read_all()
    assert frames[:, 0, 0, 0].tolist() == list(range(0, 120, 15))
