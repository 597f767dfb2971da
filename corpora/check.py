"""What is wrong with prepared data sets, before a training run finds out.

Errors would stop or spoil a training run; warnings are for a person to judge.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import media
from corpora import SPLITS, ClipRecord, read_clips
from corpora.parallel import run_parallel
from corpora.tree import CorpusError
from faces.keypoint_files import default_folder
from media.names import is_passed_over

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class Problem:
    """Something wrong: how bad, its kind, where, and what to do about it."""

    level: str
    kind: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.level}: {self.kind}: {self.where}: {self.text}"


@dataclass(frozen=True, eq=False)
class _Clip:
    """A clip on disk; once looked at, with a digest of each frame, their sizes (height, width), what cannot be read."""

    root: Path
    split: str
    path: Path
    digests: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    broken: str = ""

    @property
    def name(self) -> str:
        return media.clip_name(self.path)

    @property
    def label(self) -> str:
        return f"{self.root}/{self.split}/{self.path.name}"


def check(roots: Sequence[Path], keypoints: Path | None = None, workers: int = 1) -> tuple[list[Problem], str]:
    """Look over data sets that are to be used together, and for each clip's key points.

    Args:
        keypoints: where these are; None: beside the clips of each root, if there are any.

    Returns:
        Problems, errors first, and a line that says what was looked at.

    Raises:
        CorpusError: a root is no data set.
    """
    found = [clip for root in roots for clip in _find_clips(root)]
    lists = [root / "clips.csv" for root in roots]
    records = {file.parent: read_clips(file) if file.is_file() else [] for file in lists}
    sizes = [max(1, len(media.frame_files(clip.path)) if clip.path.is_dir() else 1) for clip in found]
    seen = {clip.path: clip for clip in run_parallel(_look, found, sizes, workers)}
    clips = [seen[clip.path] for clip in found]
    problems = [
        *(problem for root in roots for problem in _check_list(root, records[root], clips)),
        *_check_frames(clips),
        *_check_names(clips, keypoints is not None),
        *_check_copies(clips),
        *_check_subjects(record for own in records.values() for record in own),
    ]
    if keypoints is not None:
        problems += _check_keypoints(clips, keypoints)
    for root in roots if keypoints is None else ():
        if (folder := default_folder(root)).is_dir():
            problems += _check_keypoints([clip for clip in clips if clip.root == root], folder)
    frames = sum(len(clip.digests) for clip in clips)
    problems.sort(key=lambda problem: problem.level != ERROR)
    return problems, f"{len(clips)} clips, {frames} frames in {', '.join(map(str, roots))}"


def _find_clips(root: Path) -> list[_Clip]:
    splits = [split for split in SPLITS if (root / split).is_dir()]
    if not splits:
        raise CorpusError(
            f"{root} is no data set: expected {root}/train and {root}/test with a folder a clip. Make one with "
            "prepare.py"
        )
    return [
        _Clip(root, split, path)
        for split in splits
        for path in media.natural_sorted((root / split).iterdir())
        if not is_passed_over(path.name) and (path.is_dir() or path.suffix.lower() in media.CLIP_SUFFIXES)
    ]


def _look(clip: _Clip) -> _Clip:
    digests, sizes, broken = [], set(), ""
    folder = clip.path.is_dir()
    try:
        for frame in map(media.read_image, media.frame_files(clip.path)) if folder else media.open_clip(clip.path):
            sizes.add(frame.shape[:2])
            digests.append(hashlib.sha256(frame.tobytes()).hexdigest()[:16])
    except media.MediaError as error:
        broken = str(error)
    return replace(clip, digests=tuple(digests), sizes=tuple(sorted(sizes)), broken=broken)


# ------------------------------------------------------------------------------------------------------ checks
def _check_list(root: Path, records: Sequence[ClipRecord], clips: Sequence[_Clip]) -> Iterator[Problem]:
    """``clips.csv`` against the folders."""
    if not records:
        yield Problem(WARNING, "no clip list", str(root), "no clips.csv: frame rates and subjects are unknown")
        return
    own = {(clip.split, clip.name): clip for clip in clips if clip.root == root}
    for record in records:
        clip = own.pop((record.split, record.clip), None)
        if clip is None:
            text = "listed in clips.csv, but there is no such clip: run prepare.py again"
            yield Problem(ERROR, "absent", f"{root}/{record.split}/{record.clip}", text)
        elif not clip.broken and len(clip.digests) != record.frames:
            text = f"{len(clip.digests)} frames, {record.frames} in clips.csv: run prepare.py again"
            yield Problem(ERROR, "frame count", clip.label, text)
    text = "not in clips.csv: its rate is unknown; remove it, or add a row"
    yield from (Problem(WARNING, "not listed", clip.label, text) for clip in own.values())


def _check_frames(clips: Sequence[_Clip]) -> Iterator[Problem]:
    usual = Counter(size for clip in clips for size in clip.sizes).most_common(1)
    for clip in clips:
        if clip.broken:
            yield Problem(ERROR, "unreadable", clip.label, f"{clip.broken}. Make the clip anew")
        elif not clip.digests:
            text = f"the folder holds no pictures. {media.instead_of_frames(clip.path) or 'Remove it'}"
            yield Problem(ERROR, "no frames", clip.label, text)
        elif len(clip.sizes) > 1:
            text = f"frames of {len(clip.sizes)} sizes ({_sizes(clip.sizes)}): cut them alike"
            yield Problem(ERROR, "frame size", clip.label, text)
        elif clip.sizes[0] != usual[0][0]:
            text = f"{_sizes(clip.sizes)}, most clips {_sizes([usual[0][0]])}; frame_shape in the config resizes it"
            yield Problem(WARNING, "frame size", clip.label, text)
        elif len(set(clip.digests)) == 1 and len(clip.digests) > 1:
            yield Problem(WARNING, "still", clip.label, "all frames are equal: nothing moves in it")
        elif len(clip.digests) == 1 and clip.split == "train":
            yield Problem(WARNING, "one frame", clip.label, "nothing moves in it; training learns nothing")


def _sizes(sizes: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{width}×{height}" for height, width in sizes)


def _check_names(clips: Sequence[_Clip], one_folder: bool) -> Iterator[Problem]:
    """One name, several clips: they would share one key point file, and cannot be in one split of a run.

    Two test sets are a warning only, unless their key points are in ``one_folder``: they may be used one by one.
    """
    by_name: dict[str, list[_Clip]] = defaultdict(list)
    for clip in clips:
        by_name[clip.name].append(clip)
    for name, own in by_name.items():
        if len({clip.digests for clip in own}) > 1:
            level = ERROR if one_folder or any(clip.split == "train" for clip in own) else WARNING
            where = ", ".join(clip.label for clip in own)
            text = f"{where} are different clips: rename one, or keep their key points in different folders"
            yield Problem(level, "one name", name, text)


def _check_copies(clips: Sequence[_Clip]) -> Iterator[Problem]:
    """Clips that share moving frames, whatever they are called."""
    owners: dict[str, _Clip] = {}
    shared: dict[tuple[_Clip, _Clip], int] = Counter()
    for clip in clips:
        for digest in set(clip.digests):
            other = owners.setdefault(digest, clip)
            if other is not clip:
                shared[other, clip] += 1
    for (first, second), count in shared.items():
        same = first.digests == second.digests
        leak = first.split != second.split
        what = "is the same as" if same else f"shares {count} frames with"
        text = f"{what} {second.label}: " + ("remove one" if not leak else "a test clip must not be trained on")
        level = ERROR if leak or (same and first.split == "train") else WARNING
        yield Problem(level, "leak" if leak else "copy", first.label, text)


def _check_subjects(records: Iterable[ClipRecord]) -> Iterator[Problem]:
    """Subjects on both sides; the paper's own split has them too."""
    sides: dict[tuple[str, str], set[str]] = defaultdict(set)
    for record in records:
        if record.subject:
            sides[record.corpus, record.subject].add(record.split)
    both = media.natural_sorted(subject for (_, subject), splits in sides.items() if len(splits) > 1)
    if both:
        text = f"{len(both)} subjects are in train and in test; prepare with --split subject for a strict split"
        yield Problem(WARNING, "subject leak", media.first_names(both, 8), text)


def _check_keypoints(clips: Sequence[_Clip], folder: Path) -> Iterator[Problem]:
    from faces.keypoint_files import KEYPOINT_FOLDER, KeypointError, describe_doubt, read_manifest

    try:
        manifest = read_manifest(folder)
    except KeypointError as error:
        yield Problem(ERROR, "key points", str(folder), str(error))
        return
    missing = []
    for clip in clips:
        entry = manifest.get(clip.name, {})
        try:
            _load_keypoints(clip, entry, folder)
        except FileNotFoundError:
            missing.append(clip)
        except KeypointError as error:
            yield Problem(ERROR, "key points", clip.label, str(error))
        if entry.get("status") == "template":
            text = "no face was found, the average face stands in: look at preview.png"
            yield Problem(WARNING, "key points", clip.label, text)
        if entry.get("status") == "doubtful":
            text = f"a doubtful face ({describe_doubt(entry)}): look at preview.png; kpmaker.py --accept accepts it"
            yield Problem(ERROR if clip.split == "train" else WARNING, "key points", clip.label, text)
    if missing:
        roots = media.natural_sorted({str(clip.root) for clip in missing})
        out = "" if folder.name == KEYPOINT_FOLDER else f" --out {folder}"
        commands = "; ".join(f"python kpmaker.py --root {root}{out} --detector dlib" for root in roots)
        text = f"{len(missing)} clips have none: {commands}"
        yield Problem(ERROR, "key points", media.first_names((clip.label for clip in missing), 4), text)


def _load_keypoints(clip: _Clip, entry: dict, folder: Path) -> None:
    """See that a clip's key points, and its track if there is one, can be used and were made from it as it is now.

    Raises:
        MissingKeypoints: there are none.
        KeypointError: they cannot be used, or were made from another clip.
    """
    from faces.keypoint_files import TRACKS, KeypointError, keypoint_path, load_keypoints
    from faces.records import check_source
    from faces.tracking import check_track

    points = load_keypoints(folder, clip.name)
    size = entry.get("frame_size")
    if size and clip.sizes and tuple(size) != clip.sizes[0]:
        text = f"made for frames of {_sizes([size])}, not {_sizes(clip.sizes[:1])}"
        raise KeypointError(f"{text}: run kpmaker.py again")
    if clip.broken or not clip.digests:  # said already
        return
    check_source(clip.name, clip.path, entry, folder)
    if keypoint_path(folder / TRACKS, clip.name).is_file():
        check_track(folder, clip.name, clip.path, points)
