"""A score in the place of a driving clip: found by what a user writes, and played on the face that it is to move."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from faces.photo import FaceClip
from media import ArrayClip, first_names
from modules.family import Family
from modules.track import Track
from scores.notation import Score, ScoreError, parse_score
from scores.performance import Performance
from scores.playing import PlayedFace, play
from scores.tables import FrameScore, read_scores

LONGEST_NAME = 60


def check_family(family: Family) -> None:
    """Raises a ScoreError where models of this family follow no tracks, and says what they need."""
    if not family.uses_tracks:
        raise ScoreError(
            f"a score moves faces through a track, which model: fpb_tracked follows; model: {family.name} sees a "
            "driving clip's pictures alone: make clips of scores with generate.py --scores, and drive it with those"
        )


def find_score(text: str) -> Score | FrameScore:
    """The score that a user writes: text, a CSV file, or ``file.csv:clip`` for one of several in it.

    Raises:
        ScoreError: there is none; the message names the place and what is legal.
    """
    found = re.fullmatch(r"(.+\.csv)(?::(.+))?", text.strip(), re.IGNORECASE)
    if not found:
        return parse_score(text)
    scores = read_scores(found[1])
    name = found[2] or next(iter(scores))
    if name not in scores or (found[2] is None and len(scores) > 1):
        listed = first_names((f"{found[1]}:{clip}" for clip in scores), 5)
        raise ScoreError(f"{text!r} says no score of {found[1]}, which holds {len(scores)}; legal: {listed}")
    return scores[name]


def is_score(text: str) -> bool:
    """Whether a text is meant for a score, and not for a clip's name: it begins as one, or names a CSV file."""
    return re.match(r"\s*[LR]?\d+[A-E]?\s*($|[+*@;])|.+\.csv(:|$)", text, re.IGNORECASE) is not None


def score_name(text: str) -> str:
    """A name for files: of ``6+12B @ 0.1:0.25:0.6`` it is ``6+12B@0.1-0.25-0.6``."""
    text = Path(text).name.replace(".csv", "") if ".csv" in text else text
    name = re.sub(r"[^\w+@.=-]", "", re.sub(r"[:;*]", lambda sign: {":": "-", ";": "_", "*": "x"}[sign[0]], text))
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}-{digest}"


def driving_face(performance: Performance, source: FaceClip) -> tuple[FaceClip, Track, PlayedFace]:
    """What a score gives in place of a driving clip of the source's face.

    Args:
        performance: the score with its frames.
        source: the face; its frame 0 is at rest.

    Returns:
        the source's frame 0 bent by the score, frame by frame; its track; the motion itself, for its truth.
    """
    still = source.clip.frames[0]
    motion = play(performance, source.landmarks, still.shape[:2])
    frames = np.stack(list(motion.frames(still)))
    clip = ArrayClip(Path(score_name(performance.text)), frames, performance.fps)
    return replace(source, clip=clip, notes=()), motion.track(source.keypoints), motion


def played_on(performance: Performance, still: np.ndarray, keypoints: Tensor) -> tuple[np.ndarray, Track, PlayedFace]:
    """As :func:`driving_face`, of a face of which no more is known than its key points (18, 2), in pixels."""
    motion = play(performance, keypoints.numpy(), still.shape[:2])
    return np.stack(list(motion.frames(still))), motion.track(keypoints), motion
