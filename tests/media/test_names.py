"""Which files are clips, and in which order: names of the world."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import media
from media.names import is_passed_over, name_problem

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
    assert not is_passed_over("recycle") and not is_passed_over("s01@eaDir")


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".webp"])
def test_pictures_of_browsers_are_read(tmp_path, suffix):
    """They are JPEG and WebP under other names."""
    media.write_image(tmp_path / f"a{'.webp' if suffix == '.webp' else '.jpg'}", FRAME)
    shutil.move(next(tmp_path.iterdir()), path := tmp_path / f"frame{suffix}")
    assert np.abs(media.open_clip(path).first().astype(int) - FRAME).max() <= 3
    assert media.frame_files(tmp_path) == [path]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "..\\x", "line\nfeed", "bell\a", "no\udcffutf", "a\u2028b"])
def test_names_that_nothing_can_have(name):
    assert name_problem(name)


@pytest.mark.parametrize("name", ["CON", "nul.png", "Com1.tar.gz", "C:", "c:x"])
def test_names_that_windows_keeps_are_refused_from_archives_and_lists(name):
    assert name_problem(name, foreign=True) and not name_problem(name)


@pytest.mark.parametrize("name", ["console", "a b", "第１０段", "ÿ" * 100, "-x", "s%s", "me & you", "Café", "e\u0301"])
def test_names_of_the_world_are_names(name):
    assert not name_problem(name, foreign=True)


@pytest.mark.parametrize("name", ["line\nfeed.mp4", "no\udcffutf.png"])
def test_clips_with_such_names_are_said(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(media.MediaError, match=r"(\\n|\\udcff).* has control characters .* Rename it"):
        media.list_clips(tmp_path)
