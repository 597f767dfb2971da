"""Which files are clips, and in which order: names of the world."""

from __future__ import annotations

import re
import shutil
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

import media
from media import MediaError, MediaWarning
from media.names import is_passed_over, name_problem
from tests.pictures import noise

FRAME = np.full((8, 8, 3), 90, np.uint8)


@pytest.mark.parametrize("name", ["clip1①", "5²", "clip٣", "x²", "第１０段"])
def test_digits_of_other_scripts_are_sorted_without_an_error(name):
    """Superscripts and circled digits are digits to ``isdigit``, and no numbers to ``int``."""
    names = media.natural_sorted([name, "clip10", "clip9"])
    assert sorted(names) == sorted([name, "clip10", "clip9"])
    assert names.index("clip9") < names.index("clip10")


def test_numbers_of_other_scripts_count():
    assert media.natural_sorted(["clip١٠", "clip٩"]) == ["clip٩", "clip١٠"]  # Arabic-Indic 10 and 9


@pytest.mark.parametrize("name", ["@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"])
def test_folders_of_network_drives_are_no_clips(tmp_path, name):
    media.write_frame_folder(tmp_path / "clip", [FRAME, FRAME])
    (tmp_path / name / "thumbnails").mkdir(parents=True)
    assert [path.name for path in media.list_clips(tmp_path)] == ["clip"]


def test_what_is_passed_over():
    assert is_passed_over(".DS_Store") and is_passed_over("__MACOSX") and is_passed_over("SYNOPHOTO_THUMB_XL.jpg")
    assert is_passed_over("~$coding.xlsx") and is_passed_over("Icon\r")  # of a sheet that is open; of a macOS folder
    assert not is_passed_over("recycle") and not is_passed_over("s01@eaDir")


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".webp"])
def test_pictures_of_browsers_are_read(tmp_path, suffix):
    """They are JPEG and WebP under other names."""
    media.write_image(tmp_path / f"a{'.webp' if suffix == '.webp' else '.jpg'}", FRAME)
    shutil.move(next(tmp_path.iterdir()), path := tmp_path / f"frame{suffix}")
    assert np.abs(media.open_clip(path).first().astype(int) - FRAME).max() <= 3
    assert media.frame_files(tmp_path) == [path]


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a/b", "..\\x", "line\nfeed", "no\udcffutf", "a\u2028b"])
def test_names_that_nothing_can_have(name):
    assert name_problem(name)


@pytest.mark.parametrize("name", ["CON", "nul.png", "Com1.tar.gz", "C:", "c:x", "a ", " a"])
def test_names_that_windows_or_lists_do_not_keep_are_refused_from_archives_and_lists(name):
    assert name_problem(name, foreign=True) and not name_problem(name)


@pytest.mark.parametrize("name", ["console", "a b", "第１０段", "ÿ" * 100, "-x", "s%s", "me & you", "Café", "e\u0301"])
def test_names_of_the_world_are_names(name):
    assert not name_problem(name, foreign=True)


@pytest.mark.parametrize("name", ["line\nfeed.mp4", "no\udcffutf.png"])
def test_clips_with_such_names_are_said(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(media.MediaError, match=r"(\\n|\\udcff).* has control characters .* Rename it"):
        media.list_clips(tmp_path)


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


@pytest.mark.parametrize(("name", "expected"), [("a.mp4", "a"), ("s1.v2", "s1.v2"), ("b#2.PNG", "b#2"), ("c", "c")])
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


def test_first_names():
    assert media.first_names("abc", 3) == "a, b, c" and media.first_names(iter("abcd"), 3) == "a, b, c …"


def test_what_is_left_out_is_listed(tmp_path):
    """Recordings of other cameras and photos of phones are named; nobody misses documents."""
    for name in ("a.mp4", "b.cine", "IMG_1.HEIC", "c.braw", "notes.txt", "clips.csv", "Thumbs.db", ".hidden.raw"):
        (tmp_path / name).touch()
    with pytest.warns(
        MediaWarning, match=r"3 files left out.*: b\.cine, c\.braw, IMG_1\.HEIC\. .*ffmpeg -i.*JPEG"
    ) as caught:
        assert [path.name for path in media.list_clips(tmp_path)] == ["a.mp4"]
    assert len(caught) == 1 and str(caught[0].message).startswith(str(tmp_path))
    assert media.describe_left_out([f"{index}.raw" for index in range(9)]).count(".raw") == 5


def test_warnings_about_clips_are_one_line(monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    media.warn_in_one_line()
    assert warnings.formatwarning("a.mp4: late", MediaWarning, "x.py", 3) == "warning: a.mp4: late\n"
    assert "x.py:3" in warnings.formatwarning("other", UserWarning, "x.py", 3)


def test_names_that_the_locale_cannot_hold_come_with_the_remedy(monkeypatch):
    assert "PYTHONUTF8" not in name_problem("no\udcffutf")
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "gbk")
    assert re.search("one that is no GBK .*PYTHONUTF8=1", name_problem("no\udcffutf"))
    with pytest.raises(UnicodeEncodeError) as error:
        "方法".encode("latin-1")
    assert re.match("'方法' cannot be written .* latin-1: set PYTHONUTF8=1", media.describe_error(error.value))


def test_memory_that_ran_out_is_said():
    assert media.describe_error(MemoryError()) == "out of memory: use smaller or shorter clips, or a smaller batch"
    assert "(Unable to allocate 1 GiB)" in media.describe_error(MemoryError("Unable to allocate 1 GiB"))
    assert media.describe_error(ValueError("as it says")) == "as it says"
