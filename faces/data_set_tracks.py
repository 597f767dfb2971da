"""The tracks of a data set's clips: ``kpmaker.py --track``, resumable and shared among threads and processes."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from faces.keypoint_files import TRACKS, KeypointError, keypoint_path, load_keypoints
from faces.preview import spread
from faces.tracking import is_current, save_track, still_jitter, track_keypoints
from media import MediaError, open_clip
from media.fingerprint import Fingerprint
from parallel.work_sharing import Claims
from parallel.workers import global_rank, global_size

JITTER_CLIPS = 5  # whose jitter is measured


def track_clips(clips: dict[str, Path], arguments: argparse.Namespace) -> list[str]:
    """Follow the key points through the clips that have some, and no track that was made from both as they are now.

    Returns:
        what is wrong with clips that cannot be followed.
    """
    with_points = [name for name in clips if keypoint_path(arguments.out, name).exists()]
    if arguments.overwrite:  # what is there says nothing: each process of a team does its share anew
        todo = with_points[global_rank() :: global_size()]
    else:
        state = {name: track_is_current(name, clips[name], arguments.out) for name in with_points}
        todo = [name for name in with_points if not state[name]]
        if unknown := sum(current is None for current in state.values()):
            print(f"{unknown} tracks do not say which clip they were made from, and are made anew")
    failed = follow(todo, clips, arguments)
    done = [name for name in todo if name not in failed]
    left = len(clips) - len(todo)
    print(f"{arguments.out / TRACKS}: {len(done)} clips followed, {left} left as they were, {len(failed)} failed")
    jitters = [
        jitter
        for name in spread(done, JITTER_CLIPS)
        if (jitter := still_jitter(open_clip(clips[name], arguments.frame_size), load_keypoints(arguments.out, name)))
    ]
    if jitters:
        points, field = np.median(jitters, axis=0)
        print(
            f"jitter, on stills with the cameras' noise: key points {points:.2f}, field {field:.2f} pixels (RMS, "
            f"median of {len(jitters)} clips)"
        )
    return list(failed.values())


def track_is_current(name: str, clip: Path, folder: Path) -> bool | None:
    """Whether the track of a clip was made from it and from its key points as they are now; None: it does not say."""
    try:
        return is_current(folder, name, clip, load_keypoints(folder, name))
    except (KeypointError, MediaError, OSError):  # there is none, or what is there is broken
        return False


def follow(todo: list[str], clips: dict[str, Path], arguments: argparse.Namespace) -> dict[str, str]:
    """Track the clips ``todo``, in threads; name → what is wrong, of those that cannot be followed."""
    folder, failed, waiting = arguments.out, {}, deque(todo)

    def mine() -> Iterator[str]:
        """Clips that no other thread or process works on."""
        claims = Claims(folder)
        if not arguments.overwrite:
            for name, _ in claims.share(todo, "track {}".format, is_done):
                yield name
            return
        while waiting:
            try:
                name = waiting.popleft()
            except IndexError:  # another thread has taken the last one
                return
            with claims.exclusive(f"track {name}"):
                yield name

    def is_done(name: str) -> bool:
        return name in failed or bool(track_is_current(name, clips[name], folder))

    def work(_: int) -> None:
        for name in mine():
            try:
                clip = Fingerprint.of(clips[name])
                frames = open_clip(clips[name], arguments.frame_size)
                save_track(folder, name, track_keypoints(frames, load_keypoints(folder, name)), clip)
            except (MediaError, KeypointError) as error:
                failed[name] = f"{name}: {error}"
            bar.update()

    bar = tqdm(total=len(todo), unit="clip", desc="tracks", disable=not todo)
    with bar, ThreadPoolExecutor(arguments.workers) as pool:
        list(pool.map(work, range(arguments.workers)))
    return failed
