"""Scores in a pairs list: each is played on its source's face, as a driving clip of its own.

    driving,source
    6+12B @ 0.1:0.25:0.6,anna
    scores.csv:smile,ben

The clips lie in ``<out>/scores`` in the layout of every data set, so that results are evaluated as others are:
``test/<score>_<source>/``, ``clips.csv``, ``keypoints/`` with the true tracks, and ``truth/`` (`scores.truth`).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from animation.pairs import Pair
from corpora import ClipRecord, clip_record, read_clips, write_clips
from faces.keypoint_files import save_keypoints
from faces.tracking import save_track
from frames_dataset import ClipFolder
from media import open_output_folder, remove_own, write_frame_folder
from media.fingerprint import Fingerprint
from modules import get_family
from parallel.work_sharing import Claims
from scores.driving import check_family, find_score, is_score, played_on, score_name
from scores.performance import FPS, Performance, perform
from scores.truth import save_truth, truth_of

VERSION = 1  # raised when the same score would give another clip
SCORES = "scores"  # folder of the clips in that of the results
MADE_FROM = "made_from"  # in a truth: the score, its settings, and the face


def play_scores(pairs: list[Pair], clips: ClipFolder, config: dict, out: Path, inputs: dict) -> list[Pair]:
    """Make the driving clips of the pairs whose driving clip is a score, and add them to ``clips``.

    Args:
        pairs: a score is a text or a table as `scores.driving.find_score` takes it, where no clip is called so.
        out: the results' folder, ``inputs`` what is read, as `media.open_output_folder` has them.  Clips that an
            earlier run has left there, or another process, are taken where they would be the same.

    Returns:
        the pairs, with the names of these clips.

    Raises:
        ScoreError: a score that cannot be played, or a model that follows no tracks.
    """
    scored = [pair for pair in pairs if pair.driving not in clips.paths and is_score(pair.driving)]
    if not scored:
        return pairs
    check_family(get_family(config))
    params = config["animate_params"]
    played = {pair: _performance(pair, params) for pair in scored}
    open_output_folder(out, "--out", "results of an animation", inputs)
    folder = out / SCORES
    records = [_play(pair, performance, clips, folder) for pair, performance in played.items()]
    with Claims(folder).exclusive("clips.csv"):
        before = read_clips(folder / "clips.csv") if (folder / "clips.csv").is_file() else []
        rows = {record.clip: record for record in (*before, *records)}
        write_clips(folder / "clips.csv", [rows[name] for name in sorted(rows)])
    return [replace(pair, driving=_name(pair)) if pair in played else pair for pair in pairs]


def _name(pair: Pair) -> str:
    return f"{score_name(pair.driving)}_{pair.source}"


def _performance(pair: Pair, params: dict) -> Performance:
    """The score in the result's own frames; its head drifts where the result's head may."""
    score = find_score(pair.driving)
    if notice := getattr(score, "notice", ""):
        tqdm.write(f"{score.text}: {notice}")
    seed = int.from_bytes(hashlib.sha256(_name(pair).encode()).digest()[:4], "big")
    rate = params.get("output_fps") or params.get("fps") or FPS
    performance = perform(score, rate, params.get("variety", 1), seed)
    if params.get("head") != "keep":
        performance = replace(performance, drift=np.zeros_like(performance.drift))
    return performance


def _play(pair: Pair, performance: Performance, clips: ClipFolder, folder: Path) -> ClipRecord:
    """Make a pair's driving clip, unless it is there; its row of ``clips.csv``."""
    name, source = _name(pair), clips.open(pair.source)
    frame = source.first()
    still, keypoints = clips.fit(frame), clips.keypoints(pair.source, frame.shape[:2])
    parts = [(part.unit, part.sides, part.curve.tobytes()) for part in performance.parts]
    played = (VERSION, performance.fps, performance.spread, parts, performance.drift.tobytes())
    digest = hashlib.sha256(repr((*played, still.tobytes(), keypoints.tolist())).encode()).hexdigest()
    path, truth = folder / "test" / name, folder / "truth" / f"{name}.npz"
    with Claims(folder).exclusive(name):
        if not _is_there(path, truth, digest):
            frames, track, motion = played_on(performance, still, keypoints)
            if motion.notice:
                tqdm.write(f"{name}: {motion.notice}")
            remove_own(truth)  # until the clip is whole
            write_frame_folder(path, frames)
            save_keypoints(folder / "keypoints", name, keypoints)
            save_track(folder / "keypoints", name, track, Fingerprint.of(path))
            save_truth(truth, {**truth_of(motion, keypoints.numpy()), MADE_FROM: np.array(digest)})
    clips.add(name, path, folder / "keypoints")
    record = clip_record(source)
    marks = {"onset_index": performance.onset, "apex_index": performance.apex, "offset_index": performance.offset}
    return ClipRecord(
        clip=name, split="test", corpus=SCORES, subject=record.subject if record else pair.source,
        source=f"{performance.text} on {pair.source}", fps=performance.fps, frames=len(performance),
        action_units=performance.action_units, **marks,
    )  # fmt: skip


def _is_there(path: Path, truth: Path, digest: str) -> bool:
    if not (path.is_dir() and truth.is_file()):
        return False
    with np.load(truth) as content:
        return MADE_FROM in content and str(content[MADE_FROM]) == digest
