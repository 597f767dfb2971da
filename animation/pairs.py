"""Which clip drives which face: a pairs list, or pairs at random."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from corpora import open_table
from frames_dataset import ClipFolder, DataError
from media import clip_name, first_names
from scores.driving import is_score


@dataclass(frozen=True)
class Pair:
    """A driving clip, a source clip (its frame 0 is animated) and the driving frame relative motion starts from."""

    driving: str
    source: str
    reference: int = 0

    @property
    def name(self) -> str:
        return f"{self.driving}-{self.source}"


def read_pairs(
    path: str | Path, names: list[str], sources: list[str] | None = None, with_scores: bool = False
) -> list[Pair]:
    """Read a pairs list: CSV with the columns ``source``, ``driving`` and optionally ``frame``, ``distance``.

    ``frame`` is the driving frame that relative motion starts from (0, the onset, when absent); ``distance`` is kept
    for compatibility with published lists and has no meaning here.  Names may carry a media suffix.  ``names`` are
    those that there are, or the driving clips' where there are ``sources``.  ``with_scores``: a score of action units
    may stand in place of a driving clip's name, see `animation.scored`.

    Raises:
        DataError: no such file, a missing column, or names that are not in the data (all of them are listed).
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"dataset_params.pairs_list: no such file: {path}. Set it to null for random pairs.")
    with open_table(path, DataError) as table:
        rows, columns = list(table), table.fieldnames or ()
    if not rows or not {"source", "driving"} <= set(columns):
        raise DataError(
            f"{path} has {len(rows)} rows and the columns {', '.join(columns) or '(none)'}; needed are source and "
            "driving, separated by commas, and at least one row"
        )
    driven, known = set(names), set(names if sources is None else sources)
    pairs, unknown, scores = [], {}, set()
    for row in rows:
        source, driving = _known_name(row["source"] or "", known), _known_name(row["driving"] or "", driven)
        if with_scores and driving not in driven and is_score(row["driving"] or ""):
            driving = row["driving"].strip()
            scores.add(driving)
        unknown |= {name: None for name, there in ((source, known), (driving, driven | scores)) if name not in there}
        text = (row.get("frame") or "0").strip()
        if not text.isdecimal():
            raise DataError(f"{path}: frame {text!r} of {driving}-{source} should be a whole number from 0")
        pairs.append(Pair(driving, source, int(text)))
    if unknown:
        raise DataError(
            f"{path} names clips that are not in the data: {', '.join(unknown)}. "
            f"In the data: {first_names(sorted(known | driven), 20)}."
        )
    return pairs


def _known_name(name: str, known: set[str]) -> str:
    name = name.strip()
    return name if name in known else clip_name(name)


def random_pairs(names: list[str], count: int, seed: int = 0) -> list[Pair]:
    """``count`` different ordered pairs of different clips, drawn with ``seed`` (all of them if there are fewer)."""
    if len(names) < 2:
        raise DataError("random pairs need at least two clips in test; add clips or give dataset_params.pairs_list")
    total = len(names) * (len(names) - 1)
    chosen = np.random.default_rng(seed).choice(total, size=min(count, total), replace=False)
    pairs = []
    for number in chosen:
        first, second = divmod(int(number), len(names) - 1)
        pairs.append(Pair(driving=names[first], source=names[second + (second >= first)]))
    return pairs


def find_pairs(config: dict, clips: ClipFolder, with_scores: bool = False) -> list[Pair]:
    """The config's pairs list, or random pairs; at most ``animate_params.num_pairs``, which is said."""
    limit, listed = config["animate_params"]["num_pairs"], config["dataset_params"].get("pairs_list")
    if not listed:
        return random_pairs(clips.names, limit)
    pairs = read_pairs(listed, clips.names, with_scores=with_scores)
    if len(pairs) > limit:
        tqdm.write(f"{listed} lists {len(pairs)} pairs; animate_params.num_pairs: {limit} takes the first {limit}")
    return pairs[:limit]
