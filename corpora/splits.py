"""Which clips are for training and which for testing; all lists as CSV.

``paper``
    everything trains but the nine source clips of the MEGC 2021 challenge (``data/megc2021_challenge.csv``); their
    subjects' other clips are trained on, as in the paper.
``subject``
    no subject of a test clip in train: all clips of the challenge's subjects, and of further subjects drawn with a
    seed, are for testing.
``train``
    everything trains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

import media
from corpora import open_table, write_table
from corpora.raw import RawClip
from corpora.rules import Notice
from corpora.tree import CorpusError
from media.names import composed

SPLIT_KINDS = ("paper", "subject", "train")
CHALLENGE_FILE = Path(__file__).resolve().parents[1] / "data" / "megc2021_challenge.csv"


class ChallengeClip(NamedTuple):
    """A source clip of the challenge; ``subject`` is empty where it is not known."""

    corpus: str
    clip: str
    subject: str
    class3: str


@dataclass(frozen=True)
class SplitOptions:
    """How to split; see the module's head."""

    kind: str = "paper"  # one of :data:`SPLIT_KINDS`
    seed: int = 0  # of the draw of subjects
    share: float = 0.2  # of the subjects that are for testing, at least; the challenge's always are
    test_subjects: tuple[str, ...] = ()  # exactly these instead (``subject`` only)
    challenge: Path = CHALLENGE_FILE  # list of the challenge's clips

    def __post_init__(self) -> None:
        if self.kind not in SPLIT_KINDS:
            raise ValueError(f"unknown split {self.kind!r}; legal are {', '.join(SPLIT_KINDS)}")
        if not 0.0 <= self.share < 1.0:
            raise ValueError(f"--test-share is {self.share}; legal are 0 up to, not including, 1")
        if self.test_subjects and self.kind != "subject":
            raise ValueError(f"--test-subjects belongs to --split subject, not to --split {self.kind}")


def read_challenge(path: Path) -> list[ChallengeClip]:
    """The challenge's clips, from a CSV with the columns corpus, clip, subject, class3."""
    if not path.is_file():
        raise CorpusError(f"no such list of the challenge's clips: {path}; the project ships {CHALLENGE_FILE.name}")
    with open_table(path, CorpusError) as rows:
        columns = ChallengeClip._fields
        missing = [name for name in columns if name not in (rows.fieldnames or ())]
        if missing:
            raise CorpusError(f"{path} has no column {missing[0]!r}; expected {', '.join(columns)}")
        return [ChallengeClip(*((row[name] or "").strip() for name in columns)) for row in rows]


def assign_splits(clips: Sequence[RawClip], options: SplitOptions) -> tuple[dict[str, str], list[Notice]]:
    """``train`` or ``test`` for each clip by name; what the corpus itself says goes first.

    Raises:
        CorpusError: unknown ``--test-subjects``, or nobody is left to train on.
    """
    free = [clip for clip in clips if clip.split is None]
    splits = {clip.name: clip.split or "train" for clip in clips}
    if options.kind == "train" or not free:
        return splits, []
    held, notices = _challenge_clips(free, options)
    if options.kind == "subject":
        subjects = _test_subjects(free, {clip.subject for clip in held}, options)
        held, notices = [clip for clip in free if clip.subject in subjects], []
    if len(held) == len(free) and len(free) > 1:
        raise CorpusError("every clip would be for testing; lower --test-share or name fewer --test-subjects")
    splits.update((clip.name, "test") for clip in held)
    return splits, notices


def _challenge_clips(clips: Sequence[RawClip], options: SplitOptions) -> tuple[list[RawClip], list[Notice]]:
    """The challenge's clips among ``clips``: by name, and by subject where that is known."""
    held, notices = [], []
    corpora = {clip.corpus for clip in clips}
    for entry in read_challenge(options.challenge):
        if entry.corpus not in corpora:
            continue
        named = [clip for clip in clips if clip.corpus_name.lower() == entry.clip.lower()]
        found = [clip for clip in named if not entry.subject or clip.subject == entry.subject.lower()]
        if not found:
            notices.append(Notice("challenge-clip-absent", entry.clip, "nothing to keep out of train"))
        elif len(found) > 1:
            names = ", ".join(clip.name for clip in found)
            notices.append(Notice("ambiguous-challenge-clip", entry.clip, f"{names}; see data/{CHALLENGE_FILE.name}"))
        held += found
    return held, notices


def _test_subjects(clips: Sequence[RawClip], challenge: set[str], options: SplitOptions) -> set[str]:
    subjects = media.natural_sorted({clip.subject for clip in clips})
    if options.test_subjects:
        chosen = set(map(composed, options.test_subjects))
        unknown = media.natural_sorted(chosen - set(subjects))
        if unknown:
            raise CorpusError(f"--test-subjects: no {', '.join(unknown)}; there are {', '.join(subjects)}")
        return chosen
    wanted = max(1, round(options.share * len(subjects))) if options.share else 0
    others = [name for name in subjects if name not in challenge]
    order = np.random.default_rng(options.seed).permutation(len(others))
    return challenge | {others[i] for i in order[: max(0, wanted - len(challenge))]}


def write_splits(folder: Path, clips: Sequence[RawClip], options: SplitOptions) -> None:
    """``paper.csv``, ``subject.csv`` (clip, subject, split) and ``loso.csv`` (one fold a subject, left out of train).

    A list that the clips do not allow (one subject has no folds) is not written.
    """
    for kind in ("paper", "subject"):
        own = options if options.kind == kind else SplitOptions(kind, options.seed, challenge=options.challenge)
        try:
            splits, _ = assign_splits(clips, own)
        except CorpusError:  # too few subjects for this list
            continue
        rows = ((clip.name, clip.subject, splits[clip.name]) for clip in clips)
        write_table(folder / f"{kind}.csv", ("clip", "subject", "split"), rows)
    subjects = media.natural_sorted({clip.subject for clip in clips})
    if len(subjects) > 1:
        rows = (
            (fold, clip.name, clip.subject, "test" if clip.subject == fold else "train")
            for fold in subjects
            for clip in clips
        )
        write_table(folder / "loso.csv", ("fold", "clip", "subject", "split"), rows)
