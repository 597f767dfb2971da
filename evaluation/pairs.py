"""Which driving clip, results and truth belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import media
from corpora import open_table, read_clips
from media.names import name_problem

CLIP_LIST = "clips.csv"  # prepare.py writes it beside train/ and test/
LOSSLESS_FOLDER = "png"  # `animate` writes lossless strips there, beside the videos


class EvaluationError(ValueError):
    """Nothing can be evaluated; the message says what was looked for, where, and what to do."""


@dataclass
class Pair:
    """One driving clip and what is to be compared with it.

    Attributes:
        name: ``<driving>-<source>``, or the driving clip's name for reconstructions.
        driving, source: their names; ``source`` is "" where there is none.
        driving_path: ``None`` where it was not found.
        results: method → clip, for the methods whose result was found.
        source_path: the target's picture or clip, for the yardsticks; ``None`` where it was not found.
        truth_path: the true result, where there is one.
        problems: method (or "" for all) → what is wrong and what to do.
    """

    name: str
    driving: str
    source: str = ""
    driving_path: Path | None = None
    results: dict[str, Path] = field(default_factory=dict)
    source_path: Path | None = None
    truth_path: Path | None = None
    problems: dict[str, str] = field(default_factory=dict)


def clips_by_name(folder: str | Path) -> dict[str, Path]:
    """Clip name → path for the clips of a folder; lossless copies in its ``png/`` replace the videos beside it.

    Raises:
        EvaluationError: no such folder, or no clip in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise EvaluationError(f"no such folder: {folder}")
    try:
        clips = {media.clip_name(path): path for path in media.list_clips(folder)}
        lossless = clips.get(LOSSLESS_FOLDER)
        if lossless is not None and lossless.is_dir() and len(clips) > 1:
            del clips[LOSSLESS_FOLDER]
            clips.update({media.clip_name(path): path for path in media.list_clips(lossless)})
    except media.MediaError as error:
        raise EvaluationError(str(error)) from error
    return clips


def listed_rates(driving_dir: str | Path) -> dict[str, float]:
    """Clip → frames a second, as the ``clips.csv`` beside the folder says; {} without one.

    Folders of frames and strips do not say how fast they were filmed.

    Raises:
        EvaluationError: a list that cannot be read.
    """
    path = Path(driving_dir).absolute().parent / CLIP_LIST
    try:
        return {record.clip: float(record.fps) for record in read_clips(path)} if path.is_file() else {}
    except ValueError as error:
        raise EvaluationError(str(error)) from error


def _read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Line number and columns of each row of a pairs list."""
    if not path.is_file():
        raise EvaluationError(f"no such pairs list: {path}")
    with open_table(path, EvaluationError) as reader:
        columns = reader.fieldnames or []
        if "driving" not in columns or not {"source", "generated"} & set(columns):
            raise EvaluationError(
                f"{path} has the columns {', '.join(columns) or '(none)'}; needed are 'driving' and one of 'source' "
                "(results called <driving>-<source>) or 'generated' (names of the results)"
            )
        rows = [(reader.line_num, {key: (value or "").strip() for key, value in row.items() if key}) for row in reader]
    if not rows:
        raise EvaluationError(f"{path} lists no pairs")
    return rows


def _listed_pairs(path: Path) -> list[Pair]:
    pairs, seen = [], {}
    for line, row in _read_rows(path):
        driving, source = row["driving"], row.get("source", "")
        name = row.get("generated") or f"{driving}-{source}"
        if not driving or not name.strip("-"):
            raise EvaluationError(f"{path}, line {line}: a pair needs a driving clip and a source or result")
        if any(name_problem(media.clip_name(part), foreign=True) for part in (name, driving)):
            raise EvaluationError(f"{path}, line {line}: {name!r} of {driving!r} is no name that a clip can have")
        if name in seen:
            raise EvaluationError(f"{path}, line {line}: {name!r} is already in line {seen[name]}")
        seen[name] = line
        pair = Pair(media.clip_name(name), media.clip_name(driving), media.clip_name(source) if source else "")
        if row.get("frame", "") not in ("", "0"):
            pair.problems[""] = (
                f"{path}, line {line}: reference frame {row['frame']}; motion is measured from frame 0, so cut the "
                "driving clip and the result to begin there"
            )
        pairs.append(pair)
    return pairs


def _found_pairs(driving: Mapping[str, Path], results: Mapping[str, Mapping[str, Path]]) -> list[Pair]:
    """Pairs from the results' names: ``<driving>-<source>``, or the name of a driving clip itself."""
    pairs = []
    for name in dict.fromkeys(name for clips in results.values() for name in clips):
        fitting = [clip for clip in driving if name == clip or name.startswith(f"{clip}-")]
        if fitting:
            clip = max(fitting, key=len)
            pairs.append(Pair(name, clip, name[len(clip) + 1 :]))
        else:
            problem = (
                "no driving clip has this name or its beginning; results are called <driving>-<source>. Give a "
                "--pairs list with the columns driving,generated"
            )
            pairs.append(Pair(name, "", problems={"": problem}))
    return pairs


def find_pairs(
    driving_dir: str | Path,
    generated: Mapping[str, str | Path],
    pairs: str | Path | None = None,
    truth_dir: str | Path | None = None,
    source_dir: str | Path | None = None,
) -> list[Pair]:
    """All pairs to evaluate; what is missing of one is noted in its ``problems``.

    Args: as :func:`evaluate.evaluate`'s.

    Raises:
        EvaluationError: a folder or list that cannot be used, or neither results nor a list.
    """
    driving = clips_by_name(driving_dir)
    results = {method: clips_by_name(folder) for method, folder in generated.items()}
    sources = clips_by_name(source_dir) if source_dir is not None else driving
    truths = clips_by_name(truth_dir) if truth_dir is not None else None
    if pairs is None and not results:
        raise EvaluationError("without a folder of results, a list of pairs is needed (--pairs)")
    found = _found_pairs(driving, results) if pairs is None else _listed_pairs(Path(pairs))
    for pair in found:
        pair.driving_path, pair.source_path = driving.get(pair.driving), sources.get(pair.source)
        if pair.driving_path is None and not pair.problems:
            pair.problems[""] = f"no driving clip {pair.driving!r} in {driving_dir}"
        for method, clips in results.items():
            if pair.name in clips:
                pair.results[method] = clips[pair.name]
            else:
                pair.problems.setdefault(method, f"no result {pair.name!r} in {generated[method]}; animate this pair")
        if truths is not None:
            pair.truth_path = truths.get(pair.name)
            if pair.truth_path is None:
                pair.problems["truth"] = f"no true result {pair.name!r} in {truth_dir}"
    return found
