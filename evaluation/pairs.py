"""Which driving clip, results and truth belong together."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

import media
from corpora import open_table, read_clips
from media.names import name_problem

CLIP_LIST = "clips.csv"  # prepare.py writes it beside train/ and test/
LOSSLESS_FOLDER = "png"  # `animate` writes lossless frames there, beside the videos,
STILLS_FOLDER = "apex"  # and stills of the apices here
SIDE_BY_SIDE = "_concat"  # ends the names of what LivePortrait writes beside its results
REMEDY = "Say what belongs together in a --pairs list with the columns driving,generated"


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
            clips = {name: path for name, path in clips.items() if name not in (LOSSLESS_FOLDER, STILLS_FOLDER)}
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


def _listed_pairs(path: Path, known: set[str]) -> list[Pair]:
    """The pairs of a list, whose names may carry a media suffix unless a clip is ``known`` by it."""
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
        pair = Pair(*(text if text in known else media.clip_name(text) for text in (name, driving, source)))
        if row.get("frame", "") not in ("", "0"):
            pair.problems[""] = (
                f"{path}, line {line}: reference frame {row['frame']}; motion is measured from frame 0, so cut the "
                "driving clip and the result to begin there"
            )
        pairs.append(pair)
    return pairs


def read_name(name: str, driving: Iterable[str], sources: Collection[str]) -> list[tuple[str, str]]:
    """Which (driving, source) the name of a result may stand for; source is "" for a reconstruction.

    ``<driving>-<source>`` is how `animate` and the released code write, ``<source>--<driving>`` how LivePortrait does.
    Between two known names there may be a ``_`` too, in either order (LIA: ``<source>_<driving>``).  Readings whose
    source is known leave no room for others.
    """
    found = set()
    for clip in driving:
        after = name.removeprefix(clip) if name.startswith(clip) else ""
        before = name.removesuffix(clip) if name.endswith(clip) else ""
        if name == clip:
            found.add((clip, ""))
        if re.match("-[^-]", after):
            found.add((clip, after[1:]))
        if re.search("[^-]--$", before):
            found.add((clip, before[:-2]))
        if after.startswith("_") and after[1:] in sources:
            found.add((clip, after[1:]))
        if before.endswith("_") and before[:-1] in sources:
            found.add((clip, before[:-1]))
    known = {(clip, source) for clip, source in found if not source or source in sources}
    return sorted(known or found)


def _found_pairs(driving: Collection[str], sources: Collection[str], results: Iterable[Collection[str]]) -> list[Pair]:
    """Pairs from the results' names, as :func:`read_name` reads them; names that fit none or several are problems."""
    pairs: dict[str, Pair] = {}
    strange = []
    for name in dict.fromkeys(name for names in results for name in names):
        readings = read_name(name, driving, sources)
        if len(readings) == 1:
            clip, source = readings[0]
            pair = Pair(f"{clip}-{source}" if source else clip, clip, source)
            strange += [source] if source and source not in sources else []
        elif readings:
            fitting = " and ".join(f"{clip} (source: {source or 'itself'})" for clip, source in readings)
            pair = Pair(name, "", problems={"": f"the name fits several driving clips: {fitting}. {REMEDY}"})
        else:
            problem = "no driving clip's name is in it: results are called <driving>-<source> or <source>--<driving>"
            pair = Pair(name, "", problems={"": f"{problem}. {REMEDY}"})
        pairs.setdefault(pair.name, pair)
    if strange:
        shown = ", ".join(dict.fromkeys(strange[:3]))
        tqdm.write(
            f"sources of results that are no known clips: {shown}{' …' if strange[3:] else ''}. What stands beside the "
            "driving clip's name was taken for one; --sources DIR holds them, or a --pairs list says what they are"
        )
    return list(pairs.values())


def _results(folder: str | Path) -> dict[str, Path]:
    """The results in a folder; pictures of source, driving and result side by side, as LivePortrait adds, are none."""
    clips = clips_by_name(folder)
    beside = [name for name in clips if name.endswith(SIDE_BY_SIDE) and name.removesuffix(SIDE_BY_SIDE) in clips]
    if beside:
        shown = media.first_names(beside, 3)
        tqdm.write(f"left out of {folder}, as they show clips side by side: {shown}")
    return {name: path for name, path in clips.items() if name not in beside}


def _own(pair: Pair, clips: Mapping[str, Path]) -> list[Path]:
    """The pair's clips in a folder, by any of its names."""
    names = [pair.name]
    if pair.source:
        names += [f"{pair.source}--{pair.driving}", f"{pair.source}_{pair.driving}", f"{pair.driving}_{pair.source}"]
    return [clips[name] for name in dict.fromkeys(names) if name in clips]


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
        EvaluationError: a folder or list that cannot be used, neither results nor a list, or no truth for any pair.
    """
    driving = clips_by_name(driving_dir)
    results = {method: _results(folder) for method, folder in generated.items()}
    sources = clips_by_name(source_dir) if source_dir is not None else driving
    truths = clips_by_name(truth_dir) if truth_dir is not None else None
    if pairs is None and not results:
        raise EvaluationError("without a folder of results, a list of pairs is needed (--pairs)")
    if pairs is None:
        found = _found_pairs(driving, sources, results.values())
    else:
        found = _listed_pairs(Path(pairs), {*driving, *sources, *itertools.chain(*results.values())})
    for pair in found:
        pair.driving_path, pair.source_path = driving.get(pair.driving), sources.get(pair.source)
        if pair.driving_path is None and not pair.problems:
            pair.problems[""] = f"no driving clip {pair.driving!r} in {driving_dir}"
        for method, clips in results.items():
            own = _own(pair, clips)
            if len(own) == 1:
                pair.results[method] = own[0]
            elif own:
                pair.problems[method] = f"several results: {', '.join(path.name for path in own)}; remove all but one"
            else:
                pair.problems.setdefault(method, f"no result {pair.name!r} in {generated[method]}; animate this pair")
        if truths is not None:
            pair.truth_path = next(iter(_own(pair, truths)), None)
            if pair.truth_path is None:
                pair.problems["truth"] = f"no true result {pair.name!r} in {truth_dir}"
    if truths is not None and not any(pair.truth_path for pair in found):
        there, wanted = media.first_names(truths, 3), media.first_names((pair.name for pair in found), 3)
        raise EvaluationError(
            f"no true result in {truth_dir} belongs to a pair: there are {there}, and the pairs are {wanted}. "
            "Call them like the results, or leave --truth out"
        )
    return found
