"""Reading and writing of pictures and clips: every kind, every format of pixel, every way to be broken."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

import media
from media import MediaError
from tests.pictures import noise, smooth, write_strip, write_truncated_mp4


# ------------------------------------------------------------------------------------------ names
def test_natural_order():
    names = ["img10.jpg", "img2.jpg", "IMG1.jpg", "img002.jpg", "a.jpg", "reg_img46.jpg", "reg_img9.jpg"]
    expected = ["a.jpg", "IMG1.jpg", "img002.jpg", "img2.jpg", "img10.jpg", "reg_img9.jpg", "reg_img46.jpg"]
    assert media.natural_sorted(names) == expected
    assert media.natural_sorted(reversed(names)) == expected


def test_frame_files_are_pictures_in_natural_order(tmp_path):
    frames = noise(12)
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"img{index}.png")
    for name in ("Thumbs.db", ".DS_Store", "._img3.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"no picture")
    assert [path.name for path in media.frame_files(tmp_path)] == [f"img{i}.png" for i in range(12)]
    assert np.array_equal(media.open_clip(tmp_path).read_all(), frames)


@pytest.mark.parametrize(
    ("name", "expected"), [("a.mp4", "a"), ("s1.v2", "s1.v2"), ("b#2.PNG", "b#2"), ("c", "c")]
)
def test_clip_name(name, expected):
    assert media.clip_name(name) == expected


def test_list_clips(tmp_path):
    for name in ("clip10", "clip2", ".hidden", "__MACOSX"):
        (tmp_path / name).mkdir()
    for name in ("clip1.mp4", "Thumbs.db", "._clip2", "clip3.PNG"):
        (tmp_path / name).touch()
    assert [path.name for path in media.list_clips(tmp_path)] == ["clip1.mp4", "clip2", "clip3.PNG", "clip10"]
    (tmp_path / "clip2.gif").touch()
    with pytest.raises(MediaError, match=r"two clips are called 'clip2'.*Rename"):
        media.list_clips(tmp_path)


def test_no_clips(tmp_path):
    with pytest.raises(MediaError, match=r"no clips in .*videos.*strips"):
        media.list_clips(tmp_path)
    with pytest.raises(MediaError, match="no such data folder"):
        media.list_clips(tmp_path / "nowhere")


# ------------------------------------------------------------------------------------------ formats of pixel
def test_grey_alpha_and_palette(tmp_path):
    grey = noise(1)[0, ..., 0]
    color = noise(1, seed=1)[0]
    alpha = np.full((32, 32, 1), 255, np.uint8)
    alpha[:16] = 0
    cases = {
        "grey": (grey, grey[..., None]),
        "rgb": (color, color),
        "rgba": (np.dstack([color, alpha]), np.where(alpha, color, 0)),
        "la": (np.dstack([grey, alpha]), np.where(alpha, grey[..., None], 0)),
        "bits": (grey > 127, np.where(grey > 127, 255, 0)[..., None]),
    }
    for name, (array, expected) in cases.items():
        Image.fromarray(array).save(tmp_path / f"{name}.png")
        image = media.read_image(tmp_path / f"{name}.png")
        assert image.dtype == np.uint8, name
        assert np.array_equal(image, np.broadcast_to(expected, (32, 32, 3))), name
    palette = Image.fromarray(color).quantize(16)
    palette.save(tmp_path / "palette.png")
    assert np.array_equal(media.read_image(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))


def test_sixteen_bits(tmp_path):
    """0 … 65535 maps onto 0 … 255 with both ends exact: no cast to the low byte, no unrounded shift."""
    values = np.linspace(0, 65535, 32 * 32).round().astype(np.uint16).reshape(32, 32)
    Image.fromarray(values).save(tmp_path / "a.png")
    image = media.read_image(tmp_path / "a.png")
    assert np.array_equal(image[..., 0], np.round(values / 257).astype(np.uint8))
    assert (image.min(), image.max()) == (0, 255)
    Image.fromarray(values).save(tmp_path / "a.tiff")
    assert np.array_equal(media.read_image(tmp_path / "a.tiff"), image)


def test_bright_jpeg_does_not_wrap(tmp_path):
    Image.fromarray(np.full((32, 32, 3), 200, np.uint8)).save(tmp_path / "a.jpg")
    assert np.abs(media.read_image(tmp_path / "a.jpg").astype(int) - 200).max() <= 1


def test_floats_and_illegal_arrays():
    image = np.zeros((4, 4, 3), np.float32)
    image[0, 0] = [0.5, 1.0, 2.0]
    assert media.to_rgb8(image)[0, 0].tolist() == [128, 255, 255]
    image[0, 0, 0] = np.nan
    with pytest.raises(MediaError, match="NaN"):
        media.to_rgb8(image, "x.tif")
    with pytest.raises(MediaError, match=r"\(4, 4, 5\)"):
        media.to_rgb8(np.zeros((4, 4, 5), np.uint8))
    with pytest.raises(MediaError, match="int64"):
        media.to_rgb8(np.zeros((4, 4), np.int64))


def test_photographs_are_turned_upright(tmp_path):
    frame = noise(1, 16, 32)[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to see it upright
    Image.fromarray(frame).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(media.read_image(tmp_path / "a.png"), np.rot90(frame, -1))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff"])
def test_broken_pictures_never_crash(tmp_path, suffix):
    """Cut short anywhere or with a wrong byte, a picture is read or refused as a MediaError that names it."""
    whole, broken = tmp_path / f"a{suffix}", tmp_path / f"broken{suffix}"
    Image.fromarray(noise(1)[0]).save(whole)
    raw = whole.read_bytes()
    rng = np.random.default_rng(0)
    contents = [raw[:cut] for cut in (*range(0, 64, 3), *range(64, len(raw), len(raw) // 20))]
    for _ in range(60):
        changed = bytearray(raw)
        changed[rng.integers(min(len(raw), 300))] ^= int(rng.integers(1, 256))
        contents.append(bytes(changed))
    refused = 0
    for content in contents:
        broken.write_bytes(content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                media.read_image(broken)
        except MediaError as error:
            refused += 1
            assert str(broken) in str(error)
    assert refused > 20


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
    clip = media.open_clip(tmp_path / "a.mp4")
    assert len(clip) == 30
    assert clip.fps == pytest.approx(fps, abs=0.005)  # ffmpeg's own two decimals
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
    (tmp_path / "c.txt").touch()
    with pytest.raises(MediaError, match=r"c\.txt is no clip.*\.mp4"):
        media.open_clip(tmp_path / "c.txt")


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
    for content in (raw[: len(raw) // 2], b"", b"not a video at all"):
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


def test_resize_keeps_means_and_leaves_equal_sizes_alone():
    frame = smooth(1)[0]
    assert media.resize_frame(frame, 48, 64) is frame
    small = media.resize_frame(frame, 24, 32)
    assert small.shape == (24, 32, 3)
    blocks = frame.reshape(24, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(small - blocks).max() <= 0.51  # area averaging, exactly
    assert media.resize_frame(frame, 96, 128).shape == (96, 128, 3)
