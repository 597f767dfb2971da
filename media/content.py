"""What a file is, by its first bytes: its name says only what it could be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

HEAD = 64  # bytes that are looked at
PICTURE, VIDEO, FOREIGN = "picture", "video", "foreign"

# Formats of pictures, as Pillow calls them, by the bytes that a file begins with.
_PICTURES = (
    (b"\x89PNG\r\n\x1a\n", "PNG"), (b"\xff\xd8\xff", "JPEG"), (b"GIF8", "GIF"), (b"BM", "BMP"),
    (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"II+\0", "TIFF"), (b"MM\0+", "TIFF"),
    (b"P1", "PPM"), (b"P2", "PPM"), (b"P3", "PPM"), (b"P4", "PPM"), (b"P5", "PPM"), (b"P6", "PPM"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"), (b"\xff\x4f\xff\x51", "JPEG2000"),
)  # fmt: skip
_VIDEOS = (
    (b"\x1a\x45\xdf\xa3", "Matroska or WebM"), (b"FLV", "Flash"), (b"0&\xb2u\x8ef\xcf\x11", "Windows Media"),
    (b"\0\0\x01\xba", "MPEG"), (b"\0\0\x01\xb3", "MPEG"), (b"OggS", "Ogg"), (b".RMF", "RealMedia"),
    (b"\x06\x0e\x2b\x34", "MXF"), (b"DKIF", "IVF"), (b"YUV4MPEG2", "YUV4MPEG"),
)  # fmt: skip
_FOREIGN = (
    (b"8BPS", "Photoshop"), (b"%PDF", "PDF"), (b"\xff\x0a", "JPEG XL"), (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"FUJIFILMCCD-RAW", "raw"), (b"IIU\0", "raw"), (b"IIRO", "raw"), (b"version https://git-lfs", "Git LFS pointer"),
    (b"PK\x03\x04", "ZIP"), (b"Rar!\x1a\x07", "RAR"), (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
)  # fmt: skip
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # of QuickTime and MP4
_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"heif", b"mif1", b"msf1"}
_AVIF = {b"avif", b"avis"}


@dataclass(frozen=True)
class Content:
    """What a file holds.

    Attributes:
        kind: ``picture`` (one, or several in one file), ``video``, or ``foreign``: known, and not read here.
        name: of the format; a picture's is Pillow's.
    """

    kind: str
    name: str


def identify(file: str | Path | BinaryIO) -> Content | None:
    """What a file holds, from its path or from the start of an open one; None where its first bytes say nothing.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(file, (str, Path)):
        with open(file, "rb") as opened:
            return _identify(opened.read(HEAD))
    start = file.tell()
    head = file.read(HEAD)
    file.seek(start)
    return _identify(head)


def _identify(head: bytes) -> Content | None:
    if not head:
        return Content(FOREIGN, "empty file")
    for kind, signatures in ((PICTURE, _PICTURES), (VIDEO, _VIDEOS), (FOREIGN, _FOREIGN)):
        for signature, name in signatures:
            if head.startswith(signature):
                return Content(kind, name)
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return Content(FOREIGN, "web page")
    if head.startswith(b"RIFF"):
        return {b"WEBP": Content(PICTURE, "WEBP"), b"AVI ": Content(VIDEO, "AVI")}.get(head[8:12])
    if head[4:8] in _BOXES:
        return _identify_boxes(head)
    return None


def _identify_boxes(head: bytes) -> Content:
    """A file made of QuickTime's boxes; the first one lists the brands, the main one first."""
    if head[4:8] != b"ftyp":
        return Content(VIDEO, "QuickTime")
    size = min(int.from_bytes(head[:4], "big"), len(head))
    main, *others = [head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))]
    if main in _HEIF | _AVIF:
        return Content(PICTURE, "AVIF") if _AVIF & {main, *others} else Content(FOREIGN, "HEIC")
    return Content(FOREIGN, "raw") if main == b"crx " else Content(VIDEO, "MP4")


def refusal(name: str, content: Content) -> str:
    """Why a file of ``foreign`` content cannot be read, and the remedy."""
    instead = {
        "web page": "a web page, as a download that failed leaves it: download the file itself",
        "Git LFS pointer": "a Git LFS pointer, not the file itself: run `git lfs pull`",
        "empty file": "empty, as a copy or download that failed leaves it: fetch it again",
        **{archive: f"a {archive} archive by its content: unpack it" for archive in ("ZIP", "RAR", "7-Zip")},
    }
    if content.name in instead:
        return f"{name} is {instead[content.name]}"
    photo = {"raw": "a camera's raw photo", "HEIC": "a HEIC photo", "AVIF": "an AVIF photo"}
    what = photo.get(content.name, f"a {content.name} file")
    return f"{name} is {what} by its content, which is not read here: export it as JPEG or PNG"
