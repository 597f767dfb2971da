"""What a file is, by its first bytes, whatever it is called."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import media
from media import MediaError
from media.content import HEAD, identify
from tests.pictures import smooth

FRAMES = smooth(6)
PICTURES = {"PNG": "png", "JPEG": "jpg", "BMP": "bmp", "TIFF": "tif", "WEBP": "webp", "GIF": "gif", "PPM": "ppm"}


@pytest.mark.parametrize(("name", "suffix"), PICTURES.items())
def test_pictures_are_known(tmp_path, name, suffix):
    Image.fromarray(FRAMES[0]).save(tmp_path / f"a.{suffix}")
    assert identify(tmp_path / f"a.{suffix}").name == name
    stream = io.BytesIO((tmp_path / f"a.{suffix}").read_bytes())
    assert (identify(stream).kind, stream.tell()) == ("picture", 0)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\0\0\0\x18ftypisom\0\0\2\0isommp41", ("video", "MP4")),
        (b"\0\0\0\x14ftypqt  \0\0\2\0qt  ", ("video", "MP4")),
        (b"\0\0\0\x08wide\0\0\1\0mdat", ("video", "QuickTime")),
        (b"RIFF\0\0\1\0AVI LIST", ("video", "AVI")),
        (b"\x1a\x45\xdf\xa3\1\0\0\0", ("video", "Matroska or WebM")),
        (b"\0\0\0\x24ftypheic\0\0\0\0mif1heic", ("foreign", "HEIC")),
        (b"\0\0\0\x24ftypheix\0\0\0\0mif1heix", ("foreign", "HEIC")),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", ("foreign", "HEIC")),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", ("picture", "AVIF")),
        (b"\0\0\0\x18ftypavif\0\0\0\0avifmif1", ("picture", "AVIF")),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", ("foreign", "raw")),
        (b"8BPS\0\1", ("foreign", "Photoshop")),
        (b"\n<!DOCTYPE html><html>", ("foreign", "web page")),
        (b"version https://git-lfs.github.com/spec/v1", ("foreign", "Git LFS pointer")),
        (b"a text", None),
        (b"PK\x03\x04\x14\0", ("foreign", "ZIP")),
        (b"", ("foreign", "empty file")),
    ],
)
def test_other_contents(head, expected):
    found = identify(io.BytesIO(head.ljust(HEAD if head else 0, b"\0")))
    assert (found and (found.kind, found.name)) == expected


@pytest.mark.parametrize("name", ["a.png", "a.mp4", "a.gif"])
@pytest.mark.parametrize(("content", "remedy"), [(b"", "is empty.*fetch it again"), (b"PK\x03\x04", "ZIP.*unpack it")])
def test_what_failed_copies_and_mail_programs_leave_in_place_of_a_clip(tmp_path, name, content, remedy):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MediaError, match=remedy):
        media.open_clip(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jpg", "a.mp4"])
def test_web_page_that_was_downloaded_in_place_of_a_clip(tmp_path, name):
    (tmp_path / name).write_text("<!DOCTYPE html><title>Sign in</title>")
    with pytest.raises(MediaError, match="a web page.*download the file itself"):
        media.open_clip(tmp_path / name)


def test_names_may_say_what_they_like(tmp_path):
    """A GIF called .mp4, videos called .gif, .png or nothing, a PNG called .jpg: read as what they are."""
    media.write_clip(tmp_path / "a.mp4", FRAMES, 25)
    media.write_clip(tmp_path / "a.gif", FRAMES, 20)
    Image.fromarray(FRAMES[0]).save(tmp_path / "a.png")
    for name in ("video.gif", "video.png", "video"):
        (tmp_path / name).write_bytes((tmp_path / "a.mp4").read_bytes())
        clip = media.open_clip(tmp_path / name)
        assert (len(clip), clip.fps) == (6, 25), name
    (tmp_path / "gif.mp4").write_bytes((tmp_path / "a.gif").read_bytes())
    clip = media.open_clip(tmp_path / "gif.mp4")
    assert (len(clip), clip.fps) == (6, 20)
    (tmp_path / "picture.jpg").write_bytes((tmp_path / "a.png").read_bytes())
    assert np.array_equal(media.read_image(tmp_path / "picture.jpg"), FRAMES[0])
    with pytest.raises(MediaError, match=r"video\.png is a video \(MP4\) by its content, not a picture"):
        media.read_image(tmp_path / "video.png")


@pytest.mark.parametrize("name", ["IMG_1.HEIC", "IMG_2.jpg", "clip.mp4"])
def test_photos_of_phones_are_named_with_the_remedy(tmp_path, name):
    (tmp_path / name).write_bytes(b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + b"\0" * 100)
    for reading in (media.read_image, media.open_clip):
        with pytest.raises(MediaError, match=rf"{name} is a HEIC photo by its content.*export it as JPEG"):
            reading(tmp_path / name)


def test_what_pillow_lacks_is_named_too(tmp_path):
    (tmp_path / "a.avif").write_bytes(b"\0\0\0\x18ftypavif\0\0\0\0avifmif1" + b"\0" * 100)
    with pytest.raises(MediaError, match=r"a\.avif"):
        media.read_image(tmp_path / "a.avif")
