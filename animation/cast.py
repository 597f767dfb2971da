"""Who takes part in an animation: driving clips, sources, which of them are paired, and who was left out."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from animation.clip_animator import Clips
from animation.face_clips import FaceClips
from animation.pairs import Pair, find_pairs, read_pairs
from animation.scored import play_scores
from checkpoint import LoadedModel
from corpora import ClipRecord, path_record
from faces.crop import Crop
from faces.detector import Detector
from faces.photo import FaceCutter
from frames_dataset import ClipFolder, DataError, inputs_of
from media import IMAGE_SUFFIXES, MediaError, clip_name, describe_error, frame_files, list_clips, open_clip, read_image
from modules import get_family

MARGIN = 0.1  # around the face, as the sample model's faces have it
ONE_CLIP = 4.0  # grey levels: successive frames of a clip differ by less on average, two photos by more
BYTES_A_PIXEL = 2.0  # of a lossless colour photo as PNG, and its share of the video
LARGE = 5.0  # GB
NO_CLIP = "a picture, and no clip: photos are for --source"


@dataclass
class Cast:
    """What one call of :func:`animate.animate` moves.

    Attributes:
        clips: the driving clips.
        sources: whose first frames move: the same object where both are of one data set.
        pairs: who drives whom.
        settings: what results depend on besides the model's settings.
        inputs: what is read, by the names that users know it by: no output may take its place.
        left_out: file → why it takes no part.
        paste: put moving faces back into their photos.
        slow: results play so many times slower.
        gigabytes: about how much the results take, put back into their photos.
    """

    clips: Clips
    sources: Clips
    pairs: list[Pair]
    settings: dict
    inputs: Mapping[str, str | Path | None]
    left_out: dict[Path, str] = field(default_factory=dict)
    paste: bool = False
    slow: float = 1.0
    gigabytes: float = 0.0

    @property
    def of_photos(self) -> bool:
        """Whether the sources are photos, and not clips of a data set."""
        return isinstance(self.sources, FaceClips)

    def records(self, pair: Pair) -> tuple[ClipRecord | None, ClipRecord | None]:
        """The rows of ``clips.csv`` of a pair's driving clip and source; a photo that is in none is a person of its
        own, called like its file.
        """
        path = self.sources.paths[pair.source]
        source = path_record(path)
        if source is None and self.of_photos:
            source = ClipRecord(pair.source, "test", "photo", subject=pair.source, source=str(path), fps=1.0, frames=1)
        return path_record(self.clips.paths[pair.driving]), source

    @property
    def size(self) -> int:
        """How many photos and clips take part, or could."""
        return len(self.clips.paths) + len(self.sources.paths)

    def reasons(self) -> list[str]:
        """Of all that were left out, why, each with its file."""
        return [_naming(path, why) for path, why in self.left_out.items()]

    def unlabelled(self) -> list[str]:
        """Names of those that no ``clips.csv`` has."""
        names: dict[str, None] = {}
        for pair in self.pairs:
            rows = zip((pair.driving, pair.source), self.records(pair), strict=True)
            names |= {name: None for name, record in rows if record is None}
        return list(names)


def data_set(config: dict, pairs: list[Pair] | None = None, out: Path | None = None) -> Cast:
    """Clips of a prepared data set's test part.

    Args:
        pairs: in place of the config's.
        out: the results' folder, where scores in the config's list become clips (`animation.scored`).

    Raises:
        DataError: clips without key points; lists that do not fit.
        ScoreError: a score that cannot be played.
    """
    family = get_family(config)
    clips = ClipFolder(config["dataset_params"], "test", family.uses_prior, family.uses_tracks)
    inputs = inputs_of(config["dataset_params"])
    pairs = find_pairs(config, clips, with_scores=out is not None) if pairs is None else pairs
    if out is not None:
        pairs = play_scores(pairs, clips, config, out, inputs)
    names = list(dict.fromkeys(name for pair in pairs for name in (pair.driving, pair.source)))
    _check_prepared(clips, names)
    return Cast(clips, clips, pairs, {}, inputs)


def _check_prepared(clips: ClipFolder, names: list[str]) -> None:
    clips.check_keypoints(names)
    clips.say_faces("animated", names)


def face_crop(config: dict) -> Crop:
    """How faces are cut for a model, unless somebody knows better: as the sample model's were, at its size."""
    size = (config.get("dataset_params") or {}).get("frame_shape") or [256]
    return Crop(size[0], "square", MARGIN, adapt=True)


def photos(
    model: LoadedModel,
    sources: Path,
    driving: Path | None,
    detector: Detector,
    crop: Crop | None = None,
    choices: tuple[str | int, str | int] = ("largest", "largest"),
    pairs: str | Path | None = None,
    paste: bool = True,
    slow: float = 1.0,
) -> Cast:
    """A photo or a folder of photos, and a clip or a folder of clips, whose faces are looked for now.

    Args:
        model: its settings, ``dataset_params`` among them, are changed to name these folders.
        sources: pictures; of clips and folders of frames in it, the first frame.
        driving: None: the test clips of the model's data set, prepared by ``kpmaker.py``.
        detector: finds the faces.
        crop: how faces are cut; None: square, at the model's size.
        choices: which face of a picture and of a clip that show several.
        pairs: a list with the columns source and driving; None: each source with each clip.
        paste, slow: as :class:`Cast` has them.

    Pictures without a sure face and clips that do not move are left out, which is said.

    Raises:
        DataError: nobody is left, or a list that names who is not there.
        MediaError: folders without pictures or clips.
    """
    crop, family = crop or face_crop(model.config), get_family(model.config)
    params = model.config.setdefault("dataset_params", {})
    left_out: dict[Path, str] = {}
    cut = FaceCutter(detector, crop, only_first=True, choice=choices[0])
    seen = _survey(cut, source_files(sources), left_out)
    faces = FaceClips(cut, {name: look.path for name, look in seen.items()})
    if driving is None:
        clips: Clips = ClipFolder(params, "test", family.uses_prior, family.uses_tracks)
        frames = {name: len(clips.open(name)) for name in clips.names}
        inputs = inputs_of(params)
    else:
        cut = FaceCutter(detector, crop, only_first=False, choice=choices[1])
        driven = _survey(cut, driving_files(driving), left_out)
        clips = FaceClips(cut, {name: look.path for name, look in driven.items()}, family.uses_tracks)
        frames = {name: look.frames for name, look in driven.items()}
        inputs: dict = {"--driving": driving}
        params |= {"root_dir": str(driving), "frame_shape": [crop.size, crop.size, 3]}
    chosen = _pairs(pairs, clips, faces, left_out)
    if driving is None:
        _check_prepared(clips, list(dict.fromkeys(pair.driving for pair in chosen)))
    size = sum(seen[pair.source].pixels * frames[pair.driving] for pair in chosen) * BYTES_A_PIXEL / 1e9
    settings = {"sources": sources.as_posix(), "detector": detector.name, "crop": repr(crop), "faces": list(choices)}
    settings |= {"paste": paste, "slow": slow}
    inputs |= {"the sources": sources, "the pairs list": pairs}
    return Cast(clips, faces, chosen, settings, inputs, left_out, paste, slow, size * paste)


def _pairs(listed: str | Path | None, clips: Clips, faces: FaceClips, left_out: dict[Path, str]) -> list[Pair]:
    """Those of the list, or all, of whom is there; one driving clip after another."""
    for what, there in (("driving clips", clips.paths), ("sources", faces.paths)):
        if not there:
            first, why = next(iter(left_out.items()))
            raise DataError(f"none of the {what} can be used: {_naming(first, why)}")
    if listed is None:
        return [Pair(clip, source) for clip, source in itertools.product(clips.names, faces.names)]
    missing = [clip_name(path) for path in left_out]
    pairs = read_pairs(listed, [*clips.names, *missing], [*faces.names, *missing])
    return [pair for pair in pairs if pair.driving in clips.paths and pair.source in faces.paths]


# ------------------------------------------------------------------------------------------------ what is in a folder
def source_files(path: Path) -> list[Path]:
    """A picture or clip, or those of a folder; a folder of nothing but the frames of one clip is that clip: pictures,
    the first two of which are all but equal.
    """
    files = _clips(path)
    if len(files) > 1 and files == frame_files(path):
        first, second = (read_image(file).astype(np.int16) for file in files[:2])
        if first.shape == second.shape and float(np.abs(first - second).mean()) < ONE_CLIP:
            return [path]
    return files


def driving_files(path: Path) -> list[Path]:
    """A clip, or those of a folder; a folder of pictures alone is one clip, of frames."""
    files = _clips(path)
    return [path] if path.is_dir() and files == frame_files(path) else files


def _clips(path: Path) -> list[Path]:
    return list_clips(path) if path.is_dir() else [path]


@dataclass(frozen=True)
class Look:
    """What a first look at a picture or clip has seen: where it is, its frames and the pixels of each."""

    path: Path
    frames: int
    pixels: int


def _survey(cut: FaceCutter, files: Iterable[Path], left_out: dict[Path, str]) -> dict[str, Look]:
    """Look at the first frames: those with a sure face, by name.  The others go to ``left_out``."""
    found, what = {}, "sources" if cut.only_first else "driving clips"
    for path in tqdm(files, desc=f"look at {what}", unit="face", leave=False):
        try:
            found[clip_name(path)] = _look(cut, path)
        except (MediaError, OSError) as error:
            left_out[path] = describe_error(error)
            tqdm.write(f"left out: {_naming(path, left_out[path])}")
    return found


def _look(cut: FaceCutter, path: Path) -> Look:
    frames = 1 if cut.only_first else _count(path)
    photo = cut.open(path).first()
    face, several = cut.find(path, photo)
    if face.doubt:
        raise MediaError(f"doubtful face at {face.place} ({face.doubt}); given alone, it is moved all the same")
    if several:
        tqdm.write(f"{path}: {several}")
    return Look(path, frames, photo.shape[0] * photo.shape[1])


def _count(path: Path) -> int:
    """Frames of a clip that moves."""
    is_picture = path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES
    try:
        count = len(open_clip(path))
    except MediaError as error:
        raise (MediaError(NO_CLIP) if is_picture else error) from error
    if count < 2:
        raise MediaError(NO_CLIP if is_picture else "one frame: nothing moves in it")
    return count


def _naming(path: Path, why: str) -> str:
    """A reason, with the file that it is about, unless it names it itself."""
    return why if str(path) in why else f"{path}: {why}"


def check_room(cast: Cast, out: Path) -> None:
    """See that the results fit the disk, before the first is made; large ones are said.

    Raises:
        DataError: they do not.
    """
    there = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(there).free / 1e9
    if cast.gigabytes > free:
        raise DataError(
            f"{len(cast.pairs)} results in their photos take about {cast.gigabytes:.0f} GB, and {free:.0f} GB are free "
            f"in {there}: make the photos smaller (1,000 pixels high show all that moves), or add --no-paste"
        )
    if cast.gigabytes > LARGE:
        tqdm.write(f"{len(cast.pairs)} results in their photos take about {cast.gigabytes:.0f} GB")
