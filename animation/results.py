"""Results of an animation or reconstruction: their places, writing, settings, manifest, and labelled data set.

The lossless frames are always kept: micro-expressions are smaller than what lossy video destroys.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from animation.cast import Cast
from animation.clip_animator import CONTROLS, Take
from animation.pairs import Pair
from animation.retiming import moved_marks
from checkpoint import LoadedModel, file_hash
from corpora import ClipRecord, open_table, write_table
from corpora.generated import GeneratedSet, generated_record
from frames_dataset import DataError, root_folders
from media import atomic_path, check_own, clip_writer, folder_writer, remove_own
from media.threads import WriteBehind

SETTINGS_FILE = "settings.json"
FRAMES = "png"  # folder of the lossless frames, a folder each
SHOWN = 5  # failures in an error's line
EARLIER = {**CONTROLS, "precision": "float32"}  # what folders were made with before settings had these
LABELS = ("corpus", "subject", "emotion", "class3", "action_units", "onset_index", "apex_index", "offset_index")


@dataclass(frozen=True)
class Result:
    """A finished clip: its pair, its video (or frame folder), its lossless frames, and whether it was made now."""

    pair: Pair
    video: Path
    lossless: Path
    made: bool


def check_names(pairs: list[Pair]) -> None:
    """Refuse different pairs whose results would have one name, so that one would stand for both.

    Raises:
        DataError: the same clips with different reference frames, or names that differ in where a hyphen is.
    """
    seen: dict[str, Pair] = {}
    for pair in pairs:
        other = seen.setdefault(pair.name, pair)
        if other != pair:
            first, second = (f"({p.driving}, {p.source}, frame {p.reference})" for p in (other, pair))
            raise DataError(
                f"the results of two pairs (driving, source, frame) would both be called {pair.name!r}: {first} and "
                f"{second}. Give each a pairs list and an --out of its own, or rename a clip"
            )


def result_paths(out: Path, name: str, suffix: str) -> tuple[Path, Path]:
    """Where a result goes: the clip as asked for, and the folder of its lossless frames (the same, for PNG files)."""
    if suffix == ".png":
        return out / name, out / name
    return out / f"{name}{suffix}", out / FRAMES / name


def finished(video: Path, lossless: Path) -> bool:
    """Whether a result is there, whole."""
    return video.exists() and find_lossless(lossless) is not None


def find_lossless(lossless: Path) -> Path | None:
    """The lossless frames of a result: their folder, or the strip that earlier versions wrote beside it."""
    strip = _strip(lossless)
    return lossless if lossless.is_dir() else strip if strip.is_file() else None


def _strip(lossless: Path) -> Path:
    return lossless.with_name(f"{lossless.name}.png")


def files_of(video: Path, lossless: Path) -> list[Path]:
    """The files and folders of a result, those that there are."""
    places = dict.fromkeys((video, lossless, _strip(lossless)))
    return [path for path in places if os.path.lexists(path)]


def write_result(
    frames: Iterable[np.ndarray],
    video: Path,
    lossless: Path,
    fps: float,
    folder: Path | None = None,
    overlap: bool = False,
) -> None:
    """Write frames to both places as they come, and to a folder of pictures if there is one; with ``overlap`` in a
    background thread.
    """
    if overlap:
        with WriteBehind(True) as behind:
            behind(lambda received: write_result(received, video, lossless, fps, folder), frames)
        return
    strip = _strip(lossless)  # of an earlier version: it would be a second clip of that name
    check_own(strip, named=True)
    with contextlib.ExitStack() as stack:
        if video == lossless:
            writers = [stack.enter_context(folder_writer(video))]
        else:  # the lossless one is entered last and so finished first: a video stands for a complete result
            writers = [stack.enter_context(clip_writer(video, fps)), stack.enter_context(folder_writer(lossless))]
        if folder is not None:
            writers.append(stack.enter_context(folder_writer(folder)))
        for frame in frames:
            for append in writers:
                append(frame)
    remove_own(strip)


def some_failed(failures: list[str], total: int, what: str) -> str:
    """What the error of a run that has made the others says, in one line: how many of ``total`` ``what`` (as ``pairs
    failed``), and the first of them.
    """
    more = f"; and {len(failures) - SHOWN} more, said above" if len(failures) > SHOWN else ""
    return f"{len(failures)} of {total} {what}: {'; '.join(failures[:SHOWN])}{more}"


def common_settings(model: LoadedModel, checkpoint: str | Path, suffix: str) -> dict:
    """What results of all kinds depend on, for ``settings.json``; ``suffix`` is their files'."""
    dataset_params = model.config["dataset_params"]
    return {
        "root_dir": [root.as_posix() for root in root_folders(dataset_params)],  # others' clips may have the same names
        "checkpoint": file_hash(checkpoint),
        "model": model.family,
        "format": suffix,
        "precision": model.precision,
        "frame_shape": dataset_params["frame_shape"],
    }


def check_settings(out: Path, settings: dict, overwrite: bool) -> None:
    """Refuse to mix results of different settings in one folder; writes ``settings.json`` into a new one."""
    path = out / SETTINGS_FILE
    if path.is_file() and not overwrite:
        unknown = {"root_dir": settings.get("root_dir")}  # of folders from before it was kept: taken for the same
        before = {**unknown, **EARLIER, **_read_json(path, dict)}
        changed = [key for key in settings if before.get(key) != settings[key]]
        if changed:
            raise DataError(
                f"{out} holds results made with other settings ({', '.join(changed)} differ; see {path}). "
                "Use --overwrite to replace them, or --out for another folder."
            )
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _read_json(path: Path, kind: type) -> dict | list:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, kind):
        raise DataError(f"{path} is damaged: remove it, and run the command again")
    return content


def control_settings(params: dict) -> dict:
    """The controls of ``animate_params`` for ``settings.json``, a curve file with its hash."""
    settings = {name: params.get(name, default) for name, default in CONTROLS.items()}
    if settings["retime"] and Path(settings["retime"]).is_file():
        settings["retime"] += f" ({file_hash(settings['retime'])})"
    return settings


def write_manifest(out: Path, results: list[Result], cast: Cast, settings: dict) -> None:
    """``results.json`` and ``results.csv``: a row a result, with its clips, their labels, checkpoint and settings;
    nobody else may be writing them.

    Rows of earlier runs stay, after these, as long as their results are there.  Columns ``driving_<label>`` and
    ``source_<label>`` are the clips' rows of ``clips.csv``, empty without one; ``reference`` is the setting, or the
    pair's own where that is null.
    """
    rows, table = [], []
    for result in results:
        files = {"video": result.video.name, "lossless": find_lossless(result.lossless).relative_to(out).as_posix()}
        rows.append({**asdict(result.pair), **files})
        row = dict(rows[-1])
        for role, record in zip(("driving", "source"), cast.records(result.pair), strict=True):
            row |= {f"{role}_{name}": getattr(record, name, None) for name in LABELS}
        own = {"reference": result.pair.reference} if settings["reference"] is None else {}
        table.append({**row, **settings, **own})
    listing, sheet = out / "results.json", out / "results.csv"
    if listing.is_file():
        rows += _earlier(_read_json(listing, list), rows, out)
    if sheet.is_file():
        with open_table(sheet, DataError) as earlier:
            table += _earlier(earlier, table, out)
    with atomic_path(listing) as temporary:
        temporary.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    columns = dict.fromkeys(name for row in table for name in row) or ["driving", "source"]
    write_table(sheet, columns, ([_cell(row.get(name)) for name in columns] for row in table))


def _earlier(rows: Iterable[dict], now: list[dict], out: Path) -> list[dict]:
    """Those of ``rows`` whose results are there, and are none of ``now``."""
    made = {row["video"] for row in now}
    return [row for row in rows if row.get("video") and row["video"] not in made and (out / row["video"]).exists()]


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, (dict, list)) else value


# ------------------------------------------------------------------------------------------------ labelled data set
def labelled_set(params: dict, cast: Cast) -> GeneratedSet | None:
    """The data set that ``animate_params.dataset_out`` asks for, None where it does not.

    Raises:
        DataError: clips without labels, or another data set in that folder.
    """
    if not params.get("dataset_out"):
        return None
    unlabelled = cast.unlabelled()
    if unlabelled:
        raise DataError(
            f"animate_params.dataset_out: no row of a clips.csv says whom these clips show and what: "
            f"{', '.join(unlabelled)}. prepare.py writes one; or set dataset_out: null"
        )
    try:
        return GeneratedSet(params["dataset_out"])
    except ValueError as error:
        raise DataError(str(error)) from error


def take_record(take: Take, cast: Cast, params: dict) -> ClipRecord | None:
    """The row of a finished take in a generated data set's ``clips.csv``; None where its clips have no labels."""
    driving, source = cast.records(take.pair)
    if driving is None or source is None:
        return None
    shown = np.arange(take.count) if take.positions is None else take.positions
    marks = moved_marks(shown, driving.onset_index, driving.apex_index, driving.offset_index)
    controls = {"amplify": params.get("amplify", 1), "regions": params.get("regions")}
    return generated_record(take.pair.name, driving, source, take.fps, take.count, marks, **controls)
