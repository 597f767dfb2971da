"""Opening clips: every kind, by its content, and every way to be broken."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

import media
from media import MediaError
from tests.pictures import noise, smooth, write_strip, write_truncated_mp4


# ------------------------------------------------------------------------------------------ kinds of clip
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (24, 64)])
def test_folder_and_strip_are_lossless(tmp_path, size):
    frames = noise(7, *size)
    media.write_frame_folder(tmp_path / "folder", frames)
    write_strip(tmp_path / "strip.png", frames)
    for path in ("folder", "strip.png"):
        clip = media.open_clip(tmp_path / path, size)
        assert len(clip) == 7
        assert np.array_equal(clip.read_all(), frames)
        assert np.array_equal(clip.read([5, 0, 5]), frames[[5, 0, 5]])
        assert np.array_equal(clip.first(), frames[0])
        assert clip.fps is None
        with pytest.raises(MediaError, match="no frame 7"):
            clip.read([7])


@pytest.mark.parametrize(
    ("fps", "size"),
    [
        (200, (48, 64)),
        (100, (47, 33)),
        (30, (48, 33)),
        (29.97, (47, 64)),
        (24000 / 1001, (32, 32)),
        (12.5, (32, 32)),
    ],
)
def test_video_keeps_frames_size_and_rate(tmp_path, fps, size):
    frames = smooth(30, *size)
    media.write_clip(tmp_path / "a.mp4", frames, fps)
    frames = np.pad(frames, ((0, 0), (0, size[0] % 2), (0, size[1] % 2), (0, 0)), mode="edge")  # as all players want
    clip = media.open_clip(tmp_path / "a.mp4")
    assert len(clip) == 30
    assert clip.fps == pytest.approx(fps)
    decoded = clip.read_all()
    assert decoded.shape == frames.shape
    error = np.abs(decoded.astype(int) - frames.astype(int))
    assert error.mean() < 2
    order = [int(np.argmin([np.abs(d.astype(int) - f.astype(int)).sum() for f in frames])) for d in decoded]
    assert order == list(range(30))
    assert np.array_equal(clip.read([9, 2]), decoded[[9, 2]])
    with pytest.raises(MediaError, match="no frame 30"):
        clip.read([30])


@pytest.mark.parametrize(
    ("fps", "played"), [(50, 50), (25, 25), (20, 20), (100, 50), (200, 50), (30, 100 / 3)]
)
def test_gif_plays_at_the_rate_that_is_said(tmp_path, fps, played):
    frames = noise(6)
    media.write_clip(tmp_path / "a.gif", frames, fps)
    assert media.gif_rate(fps) == pytest.approx(played)
    clip = media.open_clip(tmp_path / "a.gif")
    assert clip.fps == pytest.approx(played)
    assert len(clip) == 6


def test_gif_does_not_flicker(tmp_path):
    """One palette for the whole clip: what stays the same in the frames stays the same in the file."""
    frames = smooth(8)
    media.write_clip(tmp_path / "a.gif", frames, 25)
    decoded = media.open_clip(tmp_path / "a.gif").read_all().astype(int)
    still = (frames == frames[0]).all(axis=(0, 3))
    assert still.mean() > 0.3
    assert (decoded[:, still] == decoded[0, still]).all()
    assert np.abs(decoded - frames).mean() < 6


def test_strips_are_cut_by_the_frames_aspect_ratio():
    image = noise(1, 40, 120)[0]
    assert media.split_strip(image, None).shape == (3, 40, 40, 3)
    assert media.split_strip(image, (256, 384)).shape == (2, 40, 60, 3)
    assert np.array_equal(media.split_strip(image, (80, 60))[1], image[:, 30:60])
    assert media.split_strip(image[:, :50], None).shape == (1, 40, 50, 3)  # a picture, not a strip
    with pytest.raises(MediaError, match=r"100×40.*40 pixels wide.*frame_shape"):
        media.split_strip(image[:, :100], None)


def test_empty_folder_and_missing_clip(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "readme.txt").touch()
    with pytest.raises(MediaError, match=r"no frames in .*a\b.*\.png"):
        media.open_clip(tmp_path / "a")
    (tmp_path / "a" / "clip").mkdir()
    with pytest.raises(MediaError, match=r"It holds folders.*prepare\.py folder --raw"):
        media.open_clip(tmp_path / "a")
    with pytest.raises(MediaError, match="no such clip"):
        media.open_clip(tmp_path / "b")
    (tmp_path / "c.txt").write_text("notes")
    with pytest.raises(MediaError, match=r"c\.txt is no clip.*\.mp4"):
        media.open_clip(tmp_path / "c.txt")


@pytest.mark.parametrize(
    ("files", "remedy"),
    [(["IMG_2.HEIC", "IMG_10.HEIC"], "IMG_2.HEIC, IMG_10.HEIC.*export photos as JPEG"), (["a.mp4"], "such as a.mp4")],
)
def test_folder_without_frames_says_what_it_holds(tmp_path, files, remedy):
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(MediaError, match=f"no frames in .*{remedy}"):
        media.open_clip(tmp_path)


def test_frames_of_different_size_are_named(tmp_path):
    media.write_frame_folder(tmp_path / "a", noise(3))
    Image.fromarray(noise(1, 16, 20)[0]).save(tmp_path / "a" / "0000009.png")
    clip = media.open_clip(tmp_path / "a")
    with pytest.raises(MediaError, match=r"0000009\.png is 20×16, the first one 32×32"):
        list(clip)
    with pytest.raises(MediaError, match="differ in size"):
        clip.read([0, 3])


# ------------------------------------------------------------------------------------------ broken clips
def test_truncated_video_keeps_the_good_frames(tmp_path):
    frames = smooth(60)
    write_truncated_mp4(tmp_path / "a.mp4", frames, 25, share=0.6)
    clip = media.open_clip(tmp_path / "a.mp4")
    with pytest.warns(UserWarning, match=r"a\.mp4: truncated or damaged: \d+ frames can be read"):
        kept = clip.read_all()
    assert 15 < len(kept) < 60
    assert len(clip) == len(kept)
    assert np.abs(kept.astype(int) - frames[: len(kept)].astype(int)).mean() < 2


def test_video_without_an_index_is_refused(tmp_path):
    media.write_clip(tmp_path / "a.mp4", smooth(20), 25)
    raw = (tmp_path / "a.mp4").read_bytes()
    for content in (raw[: len(raw) // 2], b"not a video at all"):
        (tmp_path / "a.mp4").write_bytes(content)
        with pytest.raises(MediaError, match=r"cannot read the video .*a\.mp4"):
            media.open_clip(tmp_path / "a.mp4").read_all()


def test_truncated_gif_keeps_the_good_frames(tmp_path):
    media.write_clip(tmp_path / "a.gif", noise(6), 20)
    raw = (tmp_path / "a.gif").read_bytes()
    whole = media.open_clip(tmp_path / "a.gif").read_all()
    (tmp_path / "a.gif").write_bytes(raw[: int(0.6 * len(raw))])
    with pytest.warns(UserWarning, match=r"a\.gif is truncated.* after 3 frames"):
        clip = media.open_clip(tmp_path / "a.gif")
    assert np.array_equal(clip.read_all(), whole[:3])
    assert clip.fps == 20
    (tmp_path / "a.gif").write_bytes(raw[:10])
    with pytest.raises(MediaError, match=r"cannot read .*a\.gif"):
        media.open_clip(tmp_path / "a.gif")


def test_video_is_streamed_when_read(tmp_path):
    media.write_clip(tmp_path / "a.mp4", smooth(40), 25)
    stream = iter(media.open_clip(tmp_path / "a.mp4"))
    first = next(stream)
    assert first.shape == (48, 64, 3)
    stream.close()  # the rest is never decoded: nothing to wait for, nothing left running


# ------------------------------------------------------------------------------------------ several in one file
@pytest.mark.parametrize(("suffix", "options"), [(".tif", {}), (".png", {}), (".webp", {"lossless": True})])
def test_pictures_in_one_file_are_a_clip(tmp_path, suffix, options):
    """Pages of a TIFF, which say nothing of time, and animations, which do."""
    frames = noise(10)
    first, *others = map(Image.fromarray, frames)
    timing = {} if suffix == ".tif" else {"duration": 20}
    first.save(tmp_path / f"a{suffix}", save_all=True, append_images=others, **timing, **options)
    clip = media.open_clip(tmp_path / f"a{suffix}", (32, 32))
    assert np.array_equal(clip.read_all(), frames)
    assert clip.fps == (50 if timing else None)


def test_pages_of_sixteen_bits(tmp_path):
    pages = np.arange(4 * 16 * 16, dtype=np.uint16).reshape(4, 16, 16) * 64
    first, *others = map(Image.fromarray, pages)
    first.save(tmp_path / "a.tif", save_all=True, append_images=others)
    assert np.array_equal(media.open_clip(tmp_path / "a.tif").read_all()[..., 0], np.round(pages / 257))


def test_the_picture_that_stands_in_for_an_animation_is_no_frame(tmp_path):
    first, *others = map(Image.fromarray, noise(5))
    first.save(tmp_path / "a.png", save_all=True, append_images=others, duration=20, default_image=True)
    assert np.array_equal(media.open_clip(tmp_path / "a.png").read_all(), noise(5)[1:])


@pytest.mark.parametrize(
    ("delays", "fps", "said"),
    [
        ([20] * 9 + [2000], 50, "20 to 2000 ms"),
        ([40] * 4 + [1000] + [40] * 5, 25, "40 to 1000 ms"),
        ([30, 30, 40, 30, 30, 40, 30, 30, 40, 30], 30.3, "30 to 40 ms"),
        (1000, 1, ""),
        (0, None, ""),
    ],
)
def test_delays_of_gifs(tmp_path, delays, fps, said):
    first, *others = map(Image.fromarray, noise(10))
    first.save(tmp_path / "a.gif", save_all=True, append_images=others, duration=delays)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clip = media.open_clip(tmp_path / "a.gif")
    assert len(clip) == 10
    assert clip.fps == (fps if fps is None else pytest.approx(fps, abs=0.01))
    assert [said in str(warning.message) for warning in caught] == [True] * bool(said)


def test_one_frame_is_no_strip(tmp_path):
    Image.fromarray(noise(1, 16, 64)[0]).save(tmp_path / "a.gif")
    assert len(media.open_clip(tmp_path / "a.gif")) == 1
