"""Raw folders and archives as one tree: what is found where, and what is refused."""

from __future__ import annotations

import contextlib
import os
import random
import zipfile

import pytest

from corpora.tree import CorpusError, scan
from tests.corpora.trees import write_frames


def pack(archive, root):
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            file.write(path, path.relative_to(root))


def test_an_archive_in_the_folder_counts_as_unpacked(tmp_path):
    write_frames(tmp_path / "packed/Cropped/sub01/EP01", [1, 2], "reg_img%d.jpg")
    write_frames(tmp_path / "packed/Cropped/sub02/EP01", [1], "reg_img%d.jpg")
    raw = tmp_path / "raw"
    raw.mkdir()
    pack(raw / "Cropped.zip", tmp_path / "packed")  # has its folder in it
    pack(raw / "Other.zip", tmp_path / "packed/Cropped")  # has not
    write_frames(raw / "plain/sub02/EP01", [3, 10, 4], "img%d.jpg")
    tree = scan(raw)
    assert tree.image_folders() == [
        "Cropped/sub01/EP01",
        "Cropped/sub02/EP01",
        "Other/sub01/EP01",
        "Other/sub02/EP01",
        "plain/sub02/EP01",
    ]
    assert [file.name for file in tree.images("plain/sub02/EP01")] == ["img3.jpg", "img4.jpg", "img10.jpg"]
    first = tree.images("Cropped/sub01/EP01")[0]
    with first.open() as stream:
        assert stream.read() == (tmp_path / "packed/Cropped/sub01/EP01/reg_img1.jpg").read_bytes()
    assert first.label.endswith("Cropped.zip/Cropped/sub01/EP01/reg_img1.jpg")


def test_what_is_unpacked_already_is_used_instead(tmp_path):
    write_frames(tmp_path / "Cropped/sub01/EP01", [1], "reg_img%d.jpg")
    with zipfile.ZipFile(tmp_path / "Cropped.zip", "w") as file:
        file.writestr("Cropped/sub01/EP01/reg_img1.jpg", b"another file")
        file.writestr("Cropped/sub01/EP01/reg_img2.jpg", b"not unpacked")
    files = scan(tmp_path).images("Cropped/sub01/EP01")
    assert [bool(file.member) for file in files] == [False, True]


def test_hidden_files_and_links_that_lead_in_circles(tmp_path):
    write_frames(tmp_path / "a/b", [1], "%d.png")
    write_frames(tmp_path / ".hidden", [1], "%d.png")
    write_frames(tmp_path / "__MACOSX", [1], "%d.png")
    (tmp_path / "a/b/loop").symlink_to(tmp_path)
    (tmp_path / "a/b/gone.png").symlink_to(tmp_path / "nowhere.png")
    tree = scan(tmp_path)
    assert tree.image_folders() == ["a/b"]
    assert [file.name for file in tree.images("a/b")] == ["1.png"]


def test_archives_that_cannot_be_read(tmp_path):
    write_frames(tmp_path / "frames/sub01", [1], "%d.png")
    whole = tmp_path / "whole.zip"
    pack(whole, tmp_path / "frames")
    data = whole.read_bytes()
    broken = tmp_path / "broken.zip"
    broken.write_bytes(data[: len(data) // 2])
    with pytest.raises(CorpusError, match="broken.zip .*not completely downloaded"):
        scan(broken)
    locked = bytearray(data)  # the flag bit that says "encrypted", in the central directory
    locked[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    with pytest.raises(CorpusError, match="locked.zip is locked with a password"):
        scan(tmp_path / "locked.zip")


def test_what_is_no_raw_folder(tmp_path):
    with pytest.raises(CorpusError, match="does not exist; expected the corpus's folder"):
        scan(tmp_path / "absent")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(CorpusError, match="is a file that is no zip archive"):
        scan(tmp_path / "a.txt")


@pytest.mark.parametrize("name", ["C:\\x\\y.png", "..\\x.png", "/abs/x.png", "a/../../x.png", "CON/1.png", "a/nul.png"])
def test_members_that_would_lie_elsewhere_are_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(CorpusError, match=r"a\.zip holds .*, which is .*move the archive away"):
        scan(tmp_path)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "img1.png")
    with pytest.raises(CorpusError, match=r"img1\.png is a named pipe, socket or device"):
        scan(tmp_path)


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bytes_in_an_archive_are_one_line(tmp_path, seed):
    """Wherever they are: in the list of members, in their headers, in what is packed."""
    rng = random.Random(seed)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"clip/img{number}.png", bytes(range(256)) * 4)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    for _ in range(20):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    (tmp_path / "a.zip").write_bytes(data)
    with contextlib.suppress(CorpusError, OSError):
        for _, file in scan(tmp_path).files():
            with contextlib.suppress(OSError):
                file.open().close()
