"""Any tree of videos or of folders of frames: one clip each, named after its path, with labels from a table or without.

Who a clip shows is what the table's column says; else what ``--subjects`` finds in its path; else the first folder
(``<subject>/<clip>``), below ``train`` and ``test`` where the first folders are called so; else nobody knows, and each
clip counts as a person of its own.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Sequence

import media
from corpora import SPLITS
from corpora.coded import Source
from corpora.labels import apply_labels
from corpora.raw import Listing, RawClip, describe, is_whole_clip, numbered_frames
from corpora.tree import CorpusError, RawFile
from media.names import composed


def read(source: Source) -> Listing:
    """The clips of a folder; what else lies in it is noted.

    Raises:
        CorpusError: no clips; folders of frames without ``--fps``; two clips that get one name; a path in which
            ``--subjects`` finds nothing; a table of labels that cannot be right.
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
    found = listing.clips if source.labels is None else apply_labels(listing.clips, source.labels, listing)
    _note_subjects(listing.clips, found, source, listing)
    listing.clips = found
    return listing.finish()


def _note_subjects(clips: Sequence[RawClip], labelled: Sequence[RawClip], source: Source, listing: Listing) -> None:
    """Say by what it is known who the clips show."""
    alone = "unknown, so that each counts as a person of its own: one person may be in train and in test"
    rules: Counter[str] = Counter()
    for clip, now in zip(clips, labelled, strict=True):
        if now.subject != clip.subject:
            rules["by the table's column"] += 1
        elif source.subjects is not None:
            rules[f"by --subjects {source.subjects.pattern}"] += 1
        elif clip.subject != clip.name:
            rules["by the first folder"] += 1
        else:
            rules[alone] += 1
    text = "; ".join(f"{count} clips {rule}" for rule, count in rules.items())
    listing.note("subjects", "", f"{text}. {len({clip.subject for clip in labelled})} subjects")


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
        name=name, corpus_name=name, corpus="folder", subject=_subject(parts, path, source), source=path,
        fps=source.fps, frames=frames, video=video, split=split, spot=True,
    )  # fmt: skip


def _subject(parts: Sequence[str], path: str, source: Source) -> str:
    if source.subjects is None:
        return parts[0] if len(parts) > 1 else parts[-1]
    found = source.subjects.search("/".join(parts))
    if found is None or not (name := next(filter(None, found.groups()), found[0])):
        raise CorpusError(
            f"--subjects {source.subjects.pattern}: nothing like that in {path}; legal is a regular expression that "
            "finds the person in every clip's path, in its first group where it has one, such as '(s[0-9]+)_'"
        )
    return name
