"""What is wrong with prepared data sets, before a training run finds out.

Errors would stop or spoil a training run; warnings are for a person to judge.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import media
from corpora import SPLITS, ClipRecord, read_clips
from corpora.parallel import run_parallel
from corpora.tree import CorpusError

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


@dataclass(frozen=True)
class _Look:
    """What was seen of a clip's frames: a digest of each, the sizes (height, width), and why one cannot be read."""

    digests: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    broken: str = ""


@dataclass(frozen=True)
class _Place:
    """A clip on disk."""

    root: Path
    split: str
    path: Path

    @property
    def name(self) -> str:
        return media.clip_name(self.path)

    @property
    def label(self) -> str:
        return f"{self.root}/{self.split}/{self.path.name}"


def check(
    roots: Sequence[Path], keypoints: Path | None = None, workers: int = 1, progress: bool = True
) -> tuple[list[Problem], str]:
    """Look over data sets that are to be used together.

    Args:
        roots: folders with ``train`` and/or ``test``.
        keypoints: folder in which every clip should have its key points; None does not look.
        workers: processes that decode the frames.
        progress: whether to show a bar.

    Returns:
        Problems, errors first, and a line that says what was looked at.

    Raises:
        CorpusError: a root is no data set.
    """
    places = [place for root in roots for place in _places(root)]
    records = {root: _records(root) for root in roots}
    sizes = [max(1, len(media.frame_files(p.path)) if p.path.is_dir() else 1) for p in places]
    looks = dict(run_parallel(_look, [place.path for place in places], sizes, workers, progress))
    problems = [
        *(problem for root in roots for problem in _check_list(root, records[root], places, looks)),
        *_check_frames(places, looks),
        *_check_names(places, looks, keypoints is not None),
        *_check_copies(places, looks),
        *_check_subjects(records),
    ]
    if keypoints is not None:
        problems += _check_keypoints(places, looks, keypoints)
    frames = sum(len(look.digests) for look in looks.values())
    problems.sort(key=lambda problem: problem.level != ERROR)
    return problems, f"{len(places)} clips, {frames} frames in {', '.join(map(str, roots))}"


def _places(root: Path) -> list[_Place]:
    if not any((root / split).is_dir() for split in SPLITS):
        raise CorpusError(
            f"{root} is no data set: expected {root}/train and {root}/test with a folder a clip. Make one with "
            "prepare.py"
        )
    found = []
    for split in SPLITS:
        if (root / split).is_dir():
            entries = media.natural_sorted((root / split).iterdir())
            found += [
                _Place(root, split, path)
                for path in entries
                if not path.name.startswith(".") and (path.is_dir() or path.suffix.lower() in media.CLIP_SUFFIXES)
            ]
    return found


def _records(root: Path) -> list[ClipRecord]:
    return read_clips(root / "clips.csv") if (root / "clips.csv").is_file() else []


def _look(path: Path) -> tuple[Path, _Look]:
    digests, sizes, broken = [], set(), []
    files = media.frame_files(path) if path.is_dir() else []
    try:
        frames = (media.read_image(file) for file in files) if path.is_dir() else iter(media.open_clip(path))
        for frame in frames:
            sizes.add(frame.shape[:2])
            digests.append(hashlib.sha256(frame.tobytes()).hexdigest()[:16])
    except media.MediaError as error:
        broken.append(str(error))
    return path, _Look(tuple(digests), tuple(sorted(sizes)), broken[0] if broken else "")


# ------------------------------------------------------------------------------------------------------ checks
def _check_list(
    root: Path, records: Sequence[ClipRecord], places: Sequence[_Place], looks: dict[Path, _Look]
) -> list[Problem]:
    """``clips.csv`` against the folders."""
    if not records:
        return [Problem(WARNING, "no clip list", str(root), "no clips.csv: frame rates and subjects are unknown")]
    own = {(place.split, place.name): place for place in places if place.root == root}
    problems = []
    for record in records:
        place = own.pop((record.split, record.clip), None)
        if place is None:
            text = "listed in clips.csv, but there is no such clip: run prepare.py again"
            problems.append(Problem(ERROR, "absent", f"{root}/{record.split}/{record.clip}", text))
        elif not looks[place.path].broken and len(looks[place.path].digests) != record.frames:
            text = f"{len(looks[place.path].digests)} frames, {record.frames} in clips.csv: run prepare.py again"
            problems.append(Problem(ERROR, "frame count", place.label, text))
    text = "not in clips.csv: its rate is unknown; remove it, or add a row"
    return problems + [Problem(WARNING, "not listed", place.label, text) for place in own.values()]


def _check_frames(places: Sequence[_Place], looks: dict[Path, _Look]) -> list[Problem]:
    problems = []
    usual = Counter(size for look in looks.values() for size in look.sizes).most_common(1)
    for place in places:
        look = looks[place.path]
        if look.broken:
            problems.append(Problem(ERROR, "unreadable", place.label, f"{look.broken}. Make the clip anew"))
        elif not look.digests:
            text = f"the folder holds no pictures. {media.nested(place.path) or 'Remove it'}"
            problems.append(Problem(ERROR, "no frames", place.label, text))
        elif len(look.sizes) > 1:
            text = f"frames of {len(look.sizes)} sizes ({_sizes(look.sizes)}): cut them alike"
            problems.append(Problem(ERROR, "frame size", place.label, text))
        elif look.sizes[0] != usual[0][0]:
            text = f"{_sizes(look.sizes)}, most clips {_sizes([usual[0][0]])}; frame_shape in the config resizes it"
            problems.append(Problem(WARNING, "frame size", place.label, text))
        elif len(set(look.digests)) == 1 and len(look.digests) > 1:
            problems.append(Problem(WARNING, "still", place.label, "all frames are equal: nothing moves in it"))
        elif len(look.digests) == 1 and place.split == "train":
            problems.append(Problem(WARNING, "one frame", place.label, "nothing moves in it; training learns nothing"))
    return problems


def _sizes(sizes: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{width}×{height}" for height, width in sizes)


def _check_names(places: Sequence[_Place], looks: dict[Path, _Look], one_folder: bool) -> list[Problem]:
    """One name, several clips: they would share one key point file, and cannot be in one split of a run.

    Two test sets are a warning only, unless their key points are in ``one_folder``: they may be used one by one.
    """
    by_name: dict[str, list[_Place]] = defaultdict(list)
    for place in places:
        by_name[place.name].append(place)
    problems = []
    for name, own in by_name.items():
        if len({looks[place.path].digests for place in own}) > 1:
            level = ERROR if one_folder or any(place.split == "train" for place in own) else WARNING
            where = ", ".join(place.label for place in own)
            text = f"{where} are different clips: rename one, or keep their key points in different folders"
            problems.append(Problem(level, "one name", name, text))
    return problems


def _check_copies(places: Sequence[_Place], looks: dict[Path, _Look]) -> list[Problem]:
    """Clips that share moving frames, whatever they are called."""
    owners: dict[str, _Place] = {}
    shared: dict[tuple[_Place, _Place], int] = Counter()
    for place in places:
        for digest in set(looks[place.path].digests):
            other = owners.setdefault(digest, place)
            if other is not place:
                shared[other, place] += 1
    problems = []
    for (first, second), count in shared.items():
        same = looks[first.path].digests == looks[second.path].digests
        leak = first.split != second.split
        what = "is the same as" if same else f"shares {count} frames with"
        text = f"{what} {second.label}: " + ("remove one" if not leak else "a test clip must not be trained on")
        level = ERROR if leak or (same and first.split == "train") else WARNING
        problems.append(Problem(level, "leak" if leak else "copy", first.label, text))
    return problems


def _check_subjects(records: dict[Path, list[ClipRecord]]) -> list[Problem]:
    """Subjects on both sides; the paper's own split has them too."""
    sides: dict[tuple[str, str], set[str]] = defaultdict(set)
    for record in (record for own in records.values() for record in own):
        if record.subject:
            sides[record.corpus, record.subject].add(record.split)
    both = media.natural_sorted(subject for (_, subject), splits in sides.items() if len(splits) > 1)
    if not both:
        return []
    text = f"{len(both)} subjects are in train and in test; prepare with --split subject for a strict split"
    return [Problem(WARNING, "subject leak", ", ".join(both[:8]) + (" …" if len(both) > 8 else ""), text)]


def _check_keypoints(places: Sequence[_Place], looks: dict[Path, _Look], folder: Path) -> list[Problem]:
    from faces.keypoint_files import KeypointError, load_keypoints, read_manifest

    problems, missing = [], []
    try:
        manifest = read_manifest(folder)
    except KeypointError as error:
        return [Problem(ERROR, "key points", str(folder), str(error))]
    for place in places:
        try:
            load_keypoints(folder, place.name)
        except FileNotFoundError:
            missing.append(place)
        except KeypointError as error:
            problems.append(Problem(ERROR, "key points", place.label, str(error)))
        entry = manifest.get(place.name, {})
        sizes = looks[place.path].sizes
        if entry.get("status") == "template":
            text = "no face was found, the average face stands in: look at preview.png"
            problems.append(Problem(WARNING, "key points", place.label, text))
        if entry.get("frame_size") and sizes and tuple(entry["frame_size"]) != sizes[0]:
            text = f"made for frames of {_sizes([entry['frame_size']])}, not {_sizes(sizes[:1])}: run kpmaker.py again"
            problems.append(Problem(ERROR, "key points", place.label, text))
    if missing:
        shown = ", ".join(place.label for place in missing[:4]) + (" …" if len(missing) > 4 else "")
        roots = media.natural_sorted({str(place.root) for place in missing})
        commands = "; ".join(f"kpmaker.py --root {root} --out {folder}" for root in roots)
        text = f"{len(missing)} clips have none: {commands}"
        problems.append(Problem(ERROR, "key points", shown, text))
    return problems
