"""Raw clips → folders of face crops: one task a clip, in parallel, resumable.

Of every clip, the onset frame's face is found once, all frames are cut alike and written to a temporary folder that
takes its name when it is whole (`cutting`).  ``<out>/onsets/`` keeps, for each clip, a small picture of the onset with
what was cut, and a record of it.  A second run does the clips whose record is missing or whose raw frames have changed.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import media
from corpora import MARKS, SPLITS, ClipRecord, check_unedited, write_clips, write_json
from corpora.cutting import SKIPPED, WRITTEN, Settings, Task, clip_content, clip_digest, prepare_clip
from corpora.labels import describe_marks, write_labels
from corpora.parallel import run_parallel
from corpora.raw import Listing, RawClip
from corpora.rules import Notice
from corpora.splits import SplitOptions, assign_splits, write_splits
from corpora.tree import CorpusError
from media.fingerprint import Fingerprint, file_state
from media.names import is_passed_over
from metrics.spotting import propose_marks

SETTINGS = "prepare.json"
ONSETS = "onsets"


@dataclass
class Prepared:
    """What a run came to."""

    records: list[ClipRecord]  # of the clips in the data set, in natural order
    entries: dict[str, dict]  # record of every clip of the corpus by name, those left out included
    notices: list[Notice]  # everything that was not as it should be
    written: int  # number of clips written by this run

    def remarks(self) -> list[str]:
        """For each rule that was used, its first notice."""
        by_rule: dict[str, list[Notice]] = defaultdict(list)
        for notice in self.notices:
            by_rule[notice.rule].append(notice)
        return [
            f"{rule}: {first.clip}{': ' if first.clip else ''}{first.text}"
            + (f" (and {len(others)} more)" if others else "")
            for rule, (first, *others) in by_rule.items()
        ]

    def unreadable(self) -> list[str]:
        """Clips of which no frame could be read."""
        return [name for name, entry in self.entries.items() if entry["status"] == SKIPPED and not entry["frame_size"]]

    def summary(self) -> str:
        """What there is, in a line."""
        parts = Counter(record.split for record in self.records)
        frames = sum(record.frames for record in self.records)
        count = len(self.records)
        doubtful = [name for name, entry in self.entries.items() if entry.get("doubt")]
        listed = media.first_names(doubtful, 8)
        return (
            f"{parts['train']} clips in train, {parts['test']} in test ({frames} frames), "
            f"{len(self.entries) - count} left out; {self.written} written now, {count - self.written} were there"
            + (f"; {len(doubtful)} doubtful faces: {listed}" if doubtful else "")
        )


def prepare(
    listing: Listing,
    out: Path,
    corpus: str,
    settings: Settings,
    split: SplitOptions,
    workers: int = 1,
    overwrite: bool = False,
) -> Prepared:
    """Write a data set into ``out``, or what is missing of it: crops, ``clips.csv``, lists of splits.

    ``overwrite`` makes anew what is there, with whatever settings it was made.

    Raises:
        CorpusError: the folder holds other data, or with ``on_missing="error"`` a clip has no face.
    """
    names = [clip.name for clip in listing.clips]
    double = next((name for name, count in Counter(names).items() if count > 1), None)
    if double is not None:
        raise CorpusError(f"two clips of {corpus} get the name {double!r}; this should not happen: rename one on disk")
    splits, notices = assign_splits(listing.clips, split)
    settings.make_detector()  # here too: what it lacks is said before the work
    media.open_output_folder(out, "--out", "a prepared data set", {}, ours=_read_settings(out) is not None)
    check_unedited(out / "clips.csv")
    media.clear_leftovers(out, *(out / part for part in (*SPLITS, ONSETS, "splits")))
    _check_leaks(out, splits)
    _settle(out, settings.as_dict(corpus), overwrite)
    entries, tasks = _plan(listing.clips, out, splits, settings)
    _restart(tasks)
    written = 0
    for name, entry in run_parallel(prepare_clip, tasks, list(map(len, tasks)), workers):
        entries[name] = entry
        written += entry["status"] == WRITTEN
    kept = [clip for clip in listing.clips if entries[clip.name]["status"] == WRITTEN]
    records = [_record(clip, splits[clip.name], entries[clip.name]) for clip in kept]
    write_clips(out / "clips.csv", records, noted=True)
    spotted = [(clip, record) for clip, record in zip(kept, records, strict=True) if clip.spot]
    notices += _proposals(spotted, entries)
    if spotted and (text := write_labels(out, spotted)):
        notices.append(Notice("labels-kept", "", text))
    write_splits(out / "splits", kept, split)
    notices = [*listing.notices, *notices, *_empty_splits(listing.clips, records), *_stale(out, splits)]
    for name in names:
        notices += [Notice(*parts) for parts in entries[name]["notices"]]
    return Prepared(records, {name: entries[name] for name in names}, notices, written)


# ------------------------------------------------------------------------------------------------------ planning
def _settle(out: Path, settings: dict, overwrite: bool) -> None:
    """Record the settings; a data set made with other ones is an error, or removed to be overwritten."""
    file = out / SETTINGS
    if file.is_file():
        there = _read_settings(out)
        if there is None and not overwrite:
            raise CorpusError(
                f"{file} is damaged, and nothing says what the clips were made with: make them anew with --overwrite"
            )
        if there != settings and not overwrite:
            differing = [key for key in settings if there.get(key) != settings[key]]
            changed = [f"{key} {there.get(key)!r}, now {settings[key]!r}" for key in differing]
            raise CorpusError(
                f"{out} was made with other settings ({'; '.join(changed)}). Choose another folder with --out, or make "
                "it anew with --overwrite"
            )
        if overwrite:
            _remove_written(out)
    write_json(file, settings)


def _remove_written(out: Path) -> None:
    """Remove the clips that have a record, and their records."""
    records = list((out / ONSETS).glob("*.json"))
    media.remove_own(*(out / part / record.stem for record in records for part in SPLITS))
    for record in records:
        for suffix in (".png", ".jpg"):
            record.with_suffix(suffix).unlink(missing_ok=True)
        record.unlink()


def _check_leaks(out: Path, splits: dict[str, str]) -> None:
    """Refuse clips of the corpus that lie in both splits: one that is tested with would be trained on.

    Raises:
        CorpusError: there are some.
    """
    there: dict[str, dict[str, Path]] = defaultdict(dict)
    for part, path in _clips_in(out):
        there[media.clip_name(path)].setdefault(part, path)
    double = [name for name, places in there.items() if name in splits and len(places) > 1]
    if double:
        places = " and ".join(str(there[double[0]][part]) for part in SPLITS)
        more = f" (and {len(double) - 1} more clips)" if double[1:] else ""
        raise CorpusError(
            f"{places} are both there{more}: a test clip must not be trained on. {double[0]} belongs into "
            f"{splits[double[0]]}; move the other one out of the folder, and run the command again"
        )


def _clips_in(out: Path) -> list[tuple[str, Path]]:
    """(split, path) of whatever lies in a data set as a clip."""
    return [
        (part, path)
        for part in SPLITS
        for path in media.natural_sorted((out / part).glob("*"))
        if not is_passed_over(path.name)
    ]


def _plan(
    clips: Sequence[RawClip], out: Path, splits: dict[str, str], settings: Settings
) -> tuple[dict[str, dict], list[Task]]:
    """Records of the clips that are done, and tasks for the others; clips in the wrong split are moved."""
    entries, tasks = {}, []
    for clip in clips:
        record = out / ONSETS / f"{clip.name}.json"
        folder = out / splits[clip.name] / clip.name
        other = out / ("train" if splits[clip.name] == "test" else "test") / clip.name
        if other.is_dir() and not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            os.replace(other, folder)
        entry = _read_record(record) if record.is_file() else None
        if entry is not None and _is_done(clip, folder, entry):
            entries[clip.name] = entry
            now = {"stamp": clip_digest(clip)}  # of raw frames that were moved, or dated anew
            if "written" in entry:
                now["written"] = str(replace(Fingerprint.parse(entry["written"]), state=file_state(folder)))
            if not now.items() <= entry.items():
                entry |= now
                write_json(record, entry)
        else:
            media.check_own(folder)
            tasks.append(Task(clip, folder, record, settings))
    return entries, tasks


def _is_done(clip: RawClip, folder: Path, entry: dict) -> bool:
    """Whether its record is that of the raw clip as it is now, and its frames are there.

    Raises:
        OutputError: its frames are others than those that were written.
    """
    if entry.get("status") != SKIPPED:
        there = [file.stem for file in media.frame_files(folder)] if folder.is_dir() else []
        if there != [f"{number:07d}" for number in entry.get("frames", ())]:
            return False
        if clip.spot and "curve" not in entry:  # of an earlier version
            return False
        written = Fingerprint.parse(entry.get("written"))  # None in a record of an earlier version
        if written is not None and not written.fits(folder):
            raise media.OutputError(
                f"the frames of {folder} were changed after this program wrote them: they are left as they are. Move "
                "the folder out of the data set, and run the command again to have it made anew"
            )
    if entry.get("stamp") == clip_digest(clip):
        return True
    content = entry.get("content")
    return content is not None and content == clip_content(clip)


def _restart(tasks: Sequence[Task]) -> None:
    """Remove the records of clips that are done again."""
    for task in tasks:
        task.record.unlink(missing_ok=True)


def _read_record(file: Path) -> dict:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no dictionary")
    except ValueError as error:
        raise CorpusError(f"{file} is damaged ({error}); remove it, and the clip is made again") from error
    return content


def _read_settings(out: Path) -> dict | None:
    """What a data set was made with; None where nothing says so."""
    file = out / SETTINGS
    with contextlib.suppress(OSError, ValueError):
        content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        if isinstance(content, dict) and content.keys() >= {"version", "corpus", "crop", "detector"}:
            return content
    return None


# ------------------------------------------------------------------------------------------------------ results
def _record(clip: RawClip, split: str, entry: dict) -> ClipRecord:
    if not entry["fps"]:
        raise CorpusError(f"{clip.source} does not say its frame rate: give it with --fps")
    frames = np.array(entry["frames"])
    # Of the frame of that number, or of the nearest one that was written.
    coded = {mark: getattr(clip, mark) for mark in MARKS}
    positions = {mark: None if n is None else int(np.abs(frames - n).argmin()) for mark, n in coded.items()}
    proposed = [mark for mark, number in coded.items() if number is None and entry.get("curve")]
    if proposed:
        positions = dict(zip(MARKS, propose_marks(np.array(entry["curve"]), **positions), strict=True))
    numbers = coded | {mark: int(frames[positions[mark]]) for mark in proposed}
    return ClipRecord(
        clip=clip.name, split=split, corpus=clip.corpus, subject=clip.subject, source=clip.source, fps=entry["fps"],
        frames=len(frames), **numbers, **{f"{mark}_index": position for mark, position in positions.items()},
        action_units=clip.action_units, emotion=clip.emotion, class3=clip.class3,
        box=tuple(entry["box"]), objective_class=clip.objective_class, proposed=" ".join(proposed),
    )  # fmt: skip


def _proposals(spotted: Sequence[tuple[RawClip, ClipRecord]], entries: dict[str, dict]) -> list[Notice]:
    """What was proposed, and where nothing could be."""
    notices = []
    for clip, record in spotted:
        if record.proposed:
            notices.append(Notice("proposed", clip.name, describe_marks(clip, record)))
        elif None in (clip.onset, clip.apex, clip.offset):
            notices.append(Notice("nothing-proposed", clip.name, entries[clip.name]["no_curve"]))
    return notices


def _empty_splits(clips: Sequence[RawClip], records: Sequence[ClipRecord]) -> list[Notice]:
    missing = {*SPLITS} - {record.split for record in records}
    if not records or clips and all(clip.split == "test" for clip in clips):  # a corpus that is there to test with
        return []
    how = "--split subject holds out some people, folders train/ and test/ in --raw say it too"
    return [Notice("empty-split", "", f"no clip in {split}: {how}") for split in SPLITS if split in missing]


def _stale(out: Path, splits: dict[str, str]) -> list[Notice]:
    """Clips of earlier runs that the corpus no longer has, or has in the other split."""
    return [
        Notice("stale-clip", name, f"{path}; remove it if it should not be trained on")
        for part, path in _clips_in(out)
        if splits.get(name := media.clip_name(path)) != part
    ]
