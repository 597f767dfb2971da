"""Videos: every recorded frame once, at its own time, as it is meant to be seen; whatever the container."""

from __future__ import annotations

import subprocess
import warnings
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from skimage.data import astronaut

import media
from media import MediaError, MediaWarning
from tests.pictures import smooth

FRAMES = smooth(10)
# Frames 0-4 at 25 frames a second, then 10 a second: 0, 40, 80, 120, 160, 200, 300, 400, 500, 600 ms.
SLOWING = "settb=1/1000,setpts='if(lt(N,5),N*0.04,0.2+(N-5)*0.1)/TB'"
X264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "5"]


def ffmpeg(*arguments: str | Path, frames: np.ndarray | None = None) -> None:
    """Run ffmpeg; ``frames`` are its first input, at 25 a second."""
    feed = [] if frames is None else ["-f", "rawvideo", "-pix_fmt", "rgb24", "-r", "25"]
    feed += [] if frames is None else ["-s", f"{frames.shape[2]}x{frames.shape[1]}", "-i", "-"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *feed, *map(str, arguments)]
    subprocess.run(command, input=b"" if frames is None else frames.tobytes(), check=True)


def assert_shows(clip: np.ndarray, frames: np.ndarray, most: float = 2.0) -> None:
    assert clip.shape == frames.shape
    assert np.abs(clip.astype(int) - frames).mean() < most


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".mp4", X264), (".mkv", X264), (".m4v", X264), (".mts", X264), (".3gp", X264), (".flv", X264),
        (".mov", ["-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p"]), (".wmv", ["-c:v", "wmv2", "-q:v", "2"]),
        (".webm", ["-c:v", "libvpx", "-crf", "4", "-b:v", "4M", "-deadline", "realtime"]),
    ],
)  # fmt: skip
def test_varying_rates(tmp_path, suffix, codec):
    """All ten frames, once each, whatever constant rate ffmpeg would make of them; the mean rate, and a word."""
    path = tmp_path / f"a{suffix}"
    ffmpeg("-vf", SLOWING, "-fps_mode", "passthrough", "-enc_time_base", "1/1000", *codec, path, frames=FRAMES)
    clip = media.open_clip(path)
    with pytest.warns(MediaWarning, match=rf"a\{suffix}: its frame rate varies \(40 to 100 ms a frame\)") as caught:
        frames = clip.read_all()
    assert len(caught) == 1
    assert_shows(frames, FRAMES, 3)
    assert len(clip) == 10
    assert 0.6 <= len(clip) / clip.fps <= 0.71  # some containers do not say how long the last frame is shown


@pytest.mark.parametrize(("suffix", "codec"), [(".avi", "mpeg4"), (".mpg", "mpeg2video"), (".mxf", "mpeg2video")])
def test_constant_rates_of_other_containers(tmp_path, suffix, codec):
    ffmpeg("-c:v", codec, "-q:v", "2", "-pix_fmt", "yuv420p", tmp_path / f"a{suffix}", frames=FRAMES)
    clip = media.open_clip(tmp_path / f"a{suffix}")
    assert (len(clip), clip.fps) == (10, 25)
    assert_shows(clip.read_all(), FRAMES, 3)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_late_picture_and_long_sound(tmp_path, suffix):
    """Sound that begins before the picture, and lasts after it, neither repeats frames nor looks like damage."""
    media.write_clip(tmp_path / "picture.mp4", FRAMES, 25)
    ffmpeg(
        "-itsoffset", "0.5", "-i", tmp_path / "picture.mp4", "-f", "lavfi", "-i", "sine=d=3", "-map", "0:v",
        "-map", "1:a", "-c:v", "copy", tmp_path / f"a{suffix}",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clip = media.open_clip(tmp_path / f"a{suffix}")
        assert (len(clip), clip.fps) == (10, 25)
        assert_shows(clip.read_all(), FRAMES)


def test_a_cut_without_new_coding(tmp_path):
    """An edit list hides the frames between the key frame and the cut."""
    media.write_clip(tmp_path / "whole.mp4", FRAMES, 25)
    ffmpeg("-ss", "0.16", "-i", tmp_path / "whole.mp4", "-c", "copy", tmp_path / "a.mp4")
    clip = media.open_clip(tmp_path / "a.mp4")
    assert (len(clip), clip.fps) == (6, 25)
    assert_shows(clip.read_all(), FRAMES[4:])


@pytest.mark.parametrize("rate", [1000, 2000])
def test_multiples_of_1000_frames_a_second(tmp_path, rate):
    """ffmpeg writes them as ``1k fps``."""
    media.write_clip(tmp_path / "a.mp4", FRAMES, rate)
    assert media.open_clip(tmp_path / "a.mp4").fps == rate


def test_length_and_rate_are_known_before_and_after_reading(tmp_path, monkeypatch):
    media.write_clip(tmp_path / "a.mp4", FRAMES, 25)
    before, after = media.open_clip(tmp_path / "a.mp4"), media.open_clip(tmp_path / "a.mp4")
    assert (before.fps, len(before)) == (25, 10)
    assert len(list(after)) == 10
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("decoded again"))
    assert (after.fps, len(after)) == (25, 10)
    assert np.array_equal(after.first(), before.read([0, 0])[1])
    assert after.read_all().flags.writeable  # PyTorch complains of frames that are not


def test_pixels_that_are_not_square(tmp_path):
    squeezed = np.ascontiguousarray(FRAMES[:, :, ::2])
    for ratio, width in (("2/1", 64), ("8/9", 28)):
        ffmpeg("-vf", f"setsar={ratio}", *X264, tmp_path / "a.mp4", frames=squeezed)
        frames = media.open_clip(tmp_path / "a.mp4").read_all()
        assert frames.shape == (10, 48, width, 3)
    ffmpeg("-vf", "setsar=2/1", *X264, tmp_path / "a.mp4", frames=squeezed)
    assert_shows(media.open_clip(tmp_path / "a.mp4").read_all(), FRAMES, 3)


def test_turned_cameras(tmp_path):
    media.write_clip(tmp_path / "whole.mp4", FRAMES, 25)
    ffmpeg("-display_rotation", "90", "-i", tmp_path / "whole.mp4", "-c", "copy", tmp_path / "a.mp4")
    assert_shows(media.open_clip(tmp_path / "a.mp4").read_all(), np.rot90(FRAMES, axes=(1, 2)))


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("matrix", ["bt709", "smpte170m"])
@pytest.mark.parametrize("span", ["tv", "pc"])
def test_matrix_range_and_depth_are_as_the_file_says(tmp_path, pixels, matrix, span):
    colours = np.empty((3, 32, 32, 3), np.uint8)
    colours[:] = 128, 68, 51
    filters = f"scale=out_color_matrix={matrix}:out_range={span},setparams=colorspace={matrix}:range={span}"
    codec = ["-c:v", "libx264", "-crf", "1", "-pix_fmt", pixels]
    ffmpeg("-vf", filters, *codec, tmp_path / "a.mp4", frames=colours)
    assert np.abs(media.open_clip(tmp_path / "a.mp4").first()[16, 16].astype(int) - [128, 68, 51]).max() <= 1


def test_hdr_is_said(tmp_path):
    ffmpeg("-vf", "setparams=color_trc=arib-std-b67", *X264, tmp_path / "a.mp4", frames=FRAMES)
    with pytest.warns(MediaWarning, match=r"a\.mp4: HDR"):
        media.open_clip(tmp_path / "a.mp4").read_all()


def test_sound_alone(tmp_path):
    for name in ("voice.mp4", "voice.mkv", "voice.m4a"):
        ffmpeg("-f", "lavfi", "-i", "sine=d=0.2", tmp_path / name)
        with pytest.raises(MediaError, match=rf"{name}: it holds no picture, only sound"):
            media.open_clip(tmp_path / name)


def test_memory_that_runs_out_names_the_clip(tmp_path, monkeypatch):
    def hungry(frames):
        raise MemoryError

    media.write_clip(tmp_path / "a.mp4", FRAMES, 25)
    clip = media.open_clip(tmp_path / "a.mp4")
    monkeypatch.setattr(np, "stack", hungry)
    with pytest.raises(MediaError, match=r"a\.mp4 does not fit the memory \(10 frames of 64×48"):
        clip.read_all()


@pytest.mark.parametrize("size", [(511, 509), (512, 510)])
def test_results_play_everywhere(tmp_path, size):
    """Even sides, chroma of half the size, colours BT.709 by their tags; and ours come back as they were."""
    face = astronaut()[: size[0], : size[1]]
    media.write_clip(tmp_path / "a.mp4", [face, face], 25)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(tmp_path / "a.mp4")]
    said = subprocess.run(command, capture_output=True, text=True).stderr
    assert "yuv420p(tv, bt709, progressive), 510x512" in said
    frame = media.open_clip(tmp_path / "a.mp4").first()
    assert frame.shape == (512, 510, 3)
    difference = frame[: size[0], : size[1]].astype(int) - face
    assert np.abs(difference).mean() < 2
    assert np.abs(difference.mean((0, 1))).max() < 0.3
    assert np.abs(frame[-1].astype(int) - frame[-2]).mean() < 8  # repeated, if not exactly after coding
