"""Results as a labelled data set: ``animate_params.dataset_out``."""

from __future__ import annotations

import numpy as np

from animation.clip_animator import Take
from animation.retiming import moved_marks
from corpora import ClipRecord
from corpora.generated import GeneratedSet, generated_record
from frames_dataset import ClipFolder, DataError, Pair, clip_record


def labelled_set(params: dict, clips: ClipFolder, pairs: list[Pair]) -> GeneratedSet | None:
    """The data set that ``animate_params.dataset_out`` asks for, None where it does not.

    Raises:
        DataError: clips without labels, or another data set in that folder.
    """
    if not params.get("dataset_out"):
        return None
    names = dict.fromkeys(name for pair in pairs for name in (pair.driving, pair.source))
    unlabelled = [name for name in names if clip_record(clips.open(name)) is None]
    if unlabelled:
        raise DataError(
            f"animate_params.dataset_out: no row of a clips.csv says whom these clips show and what: "
            f"{', '.join(unlabelled)}. prepare.py writes one; or set dataset_out: null"
        )
    try:
        return GeneratedSet(params["dataset_out"])
    except ValueError as error:
        raise DataError(str(error)) from error


def take_record(take: Take, clips: ClipFolder, params: dict) -> ClipRecord:
    """The row of a finished take in a generated data set's ``clips.csv``."""
    driving, source = (clip_record(clips.open(name)) for name in (take.pair.driving, take.pair.source))
    shown = np.arange(take.count) if take.positions is None else take.positions
    marks = moved_marks(shown, driving.onset_index, driving.apex_index, driving.offset_index)
    controls = {"amplify": params.get("amplify", 1), "regions": params.get("regions")}
    return generated_record(take.pair.name, driving, source, take.fps, take.count, marks, **controls)
