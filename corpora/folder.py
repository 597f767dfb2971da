"""Any tree of videos or of folders of frames: one clip each, named after its path.

With a subject's folder above each clip (``<subject>/<clip>``), that is the subject; the first folders may be ``train``
and ``test``.
"""

from __future__ import annotations

import posixpath

import media
from corpora import SPLITS
from corpora.coded import Source
from corpora.raw import Listing, RawClip, describe, is_whole_clip, numbered_frames
from corpora.tree import CorpusError, RawFile
from media.names import composed


def read(source: Source) -> Listing:
    """The clips of a folder; what else lies in it is noted.

    Raises:
        CorpusError: no clips; folders of frames without ``--fps``; two clips that get one name.
    """
    tree, listing, names = source.tree, Listing(), {}
    if text := media.describe_left_out(path for path, _ in tree.files()):
        listing.note("no-clip", "", text)
    entries = [(path, file) for path, file in tree.files() if path.lower().endswith(media.VIDEO_SUFFIXES)]
    for folder in tree.image_folders():
        pictures = tree.images(folder)
        if not pictures[0].member and media.has_pages(pictures[0].path):  # a clip each, and no frames
            entries += [(posixpath.join(folder, picture.name), picture) for picture in pictures]
        elif folder:
            entries.append((folder, None))
        else:
            listing.note("no-clip", "", f"{len(pictures)} pictures beside the clips: a clip's frames need their folder")
    for path, video in entries:
        clip = _clip(source, path, video, listing)
        if clip is None:
            continue
        other = names.setdefault(clip.name, clip)
        if other is not clip:
            raise CorpusError(f"two clips get the name {clip.name!r}: {other.source} and {clip.source}. Rename one")
        listing.clips.append(clip)
    if not listing.clips:
        raise CorpusError(
            f"no clips in {tree.root}. Expected: folders of frames ({', '.join(media.IMAGE_SUFFIXES)}) or videos "
            f"({', '.join(media.VIDEO_SUFFIXES)}), one a clip, at any depth. Found: {describe(tree)}"
        )
    return listing.finish()


def _clip(source: Source, path: str, video: RawFile | None, listing: Listing) -> RawClip | None:
    parts = path.split("/")
    parts[-1] = media.clip_name(parts[-1]) if video else parts[-1]
    split = parts.pop(0) if parts[0] in SPLITS and len(parts) > 1 else None
    parts = list(map(composed, parts))
    name = "_".join(parts)
    frames = () if video else numbered_frames(source.tree.images(path), name, listing)
    if video is None and not is_whole_clip(frames, name, path, listing):
        return None
    if video is None and source.fps is None:
        raise CorpusError(f"frames such as those in {path} do not say their rate: give it with --fps, e.g. --fps 200")
    if video is not None and video.member:
        raise CorpusError(f"videos inside an archive cannot be read ({video.label}): unpack it")
    return RawClip(
        name=name, corpus_name=name, corpus="folder", subject=parts[0] if len(parts) > 1 else name, source=path,
        fps=source.fps, frames=frames, video=video, split=split,
    )  # fmt: skip
