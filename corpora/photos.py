"""A folder of photos of faces: which of them action units can move, and each as a face ready to be moved.

A photo is used where exactly one face looks at the camera, large enough and whole; every other is left out with its
reason.  Pictures of one person are found by dlib's embedding, so that nobody is in training and in test.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

import media
from corpora import write_json
from corpora.parallel import run_parallel
from corpora.sample import appearance
from corpora.sample.action_units import FaceAxes
from corpora.sample.identities import SUPERSAMPLING, FaceModel, face_to_frame, picture_side, random_crop, to_picture
from corpora.sample.motion import face_outline
from corpora.sample.portraits import EYE_CENTRES, eye_centres
from corpora.sample.warps import similarity_between, sixteenths
from faces import make_detector
from faces.crop import apply_crop, invert_matrix, transform_points
from faces.dlib_backend import identity_model
from metrics.identity import distance, embed

VERSION = 1  # raised when the same photo would be found otherwise
LONGEST_SIDE = 1024  # larger photos are reduced to it
LEAST_SCORE = 0.5  # of dlib's detector: below are profiles, faces under hats and in shadow
MOST_TURNED = 0.2  # tip of the nose off the middle of the eyes, in inter-ocular distances: about 20 degrees
LEAST_PIXELS = 0.75  # of the photo, for one of the frame's
MOST_OUTSIDE = 0.05  # share of the frame's side that may lie beyond the photo's edge
SAME_PERSON = 0.45  # distance of embeddings; among 535 people two were 0.46 apart, 898 pairs less than dlib's 0.6
GREY = 0.2  # share of clips without colour, as some corpora are


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo that can be used."""

    path: Path
    digest: str  # SHA-256 of the file: random choices follow from it, so that no other photo changes them
    landmarks: np.ndarray  # float64 (68, 2), (x, y) in pixels of `read_photo`
    embedding: np.ndarray  # float64 (128,)

    @property
    def name(self) -> str:
        """The person's, in names of clips."""
        return self.path.stem

    @property
    def number(self) -> int:
        """A number of the file's content, for the keys of random streams."""
        return int(self.digest[:12], 16)

    def landmarks_in(self, size: int, key: Sequence[int]) -> np.ndarray:
        """Landmarks (68, 2) of :meth:`face`, without reading the photo."""
        to_frame = random_crop(np.random.default_rng([*key, 1]), size)
        return transform_points(_photo_to_frame(self.landmarks, to_frame), self.landmarks)

    def face(self, size: int, key: Sequence[int]) -> FaceModel:
        """The face in a crop, a colour and a camera that follow from ``key``; frames have ``size`` pixels a side."""
        rng = np.random.default_rng([*key, 1])
        matrix = _photo_to_frame(self.landmarks, random_crop(rng, size))
        landmarks = transform_points(matrix, self.landmarks)
        (x, y), side = to_picture(np.zeros(2), size), picture_side(size)
        to_pixels = SUPERSAMPLING * matrix + np.array([[0, 0, x], [0, 0, y]])
        picture = apply_crop(read_photo(self.path), to_pixels, side).astype(np.float32) / 255
        grey = bool(rng.random() < GREY)
        if grey:
            picture = appearance.grey(picture)
        picture = cv2.GaussianBlur(picture, (0, 0), SUPERSAMPLING * rng.uniform(0.25, 0.5))
        return FaceModel(
            picture=picture * 255, landmarks=landmarks, head=rough_head(landmarks, (size, size)), size=size,
            noise=rng.uniform(0.4, 1.1), grey=grey,
        )  # fmt: skip


def read_photo(path: Path) -> np.ndarray:
    """uint8 RGB (H, W, 3), reduced to at most `LONGEST_SIDE` pixels a side."""
    image = media.read_image(path)
    scale = LONGEST_SIDE / max(image.shape[:2])
    return image if scale >= 1 else media.resize_frame(image, *(round(side * scale) for side in image.shape[:2]))


def _photo_to_frame(landmarks: np.ndarray, to_frame: np.ndarray) -> np.ndarray:
    """Matrix (2, 3) photo → frame that puts the eyes where canonical eyes go by ``to_frame`` (2, 3)."""
    return similarity_between(eye_centres(landmarks), transform_points(to_frame, EYE_CENTRES))


def rough_head(landmarks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Where the head is, roughly: the face's outline widened by half an inter-ocular distance; float32 ``size``."""
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [sixteenths(face_outline(landmarks))], 255, shift=4)
    distance_outside = cv2.distanceTransform(255 - mask, cv2.DIST_L2, 5)
    return (distance_outside <= 0.5 * FaceAxes.of(landmarks).iod).astype(np.float32)


# ------------------------------------------------------------------------------------------------------ checking
def find_face(path: Path) -> dict:
    """What `reason_against` and `Photo` need to know of a file, as JSON has it; ``error`` where there is no face."""
    try:
        image = read_photo(path)
    except (media.MediaError, OSError) as error:
        return {"error": f"unreadable: {error}"}
    faces = make_detector("dlib", upsample=0).detect(image)
    if not faces:
        return {"error": "no face found"}
    face = faces[0]
    return {
        "size": list(image.shape[:2]), "faces": len(faces), "score": face.score, "attempt": face.attempt,
        "landmarks": face.landmarks.tolist(), "embedding": embed(image, face.landmarks, identity_model()).tolist(),
    }  # fmt: skip


def reason_against(found: dict, size: int) -> str:
    """Why a face (`find_face`) is not used for frames of ``size`` pixels a side; "" where it is."""
    if "error" in found:
        return found["error"]
    landmarks, (height, width) = np.array(found["landmarks"]), found["size"]
    axes = FaceAxes.of(landmarks)
    turned = abs((landmarks[30] - eye_centres(landmarks).mean(axis=0)) @ axes.right) / axes.iod
    matrix = invert_matrix(_photo_to_frame(landmarks, face_to_frame(size)))
    scale = np.linalg.norm(matrix[:, 0])  # pixels of the photo for one of the frame's
    corners = transform_points(matrix, size * np.array([(0, 0), (1, 0), (0, 1), (1, 1)])) / scale
    beyond = max(*-corners.min(axis=0), *(corners.max(axis=0) - np.array([width, height]) / scale)) / size
    if found["faces"] > 1:
        return f"{found['faces']} faces: cut the photo to one"
    if found["attempt"] != "plain" or found["score"] < LEAST_SCORE:
        return f"doubtful face: the detector's score is {found['score']:.2f}, at least {LEAST_SCORE} is needed"
    if turned > MOST_TURNED:
        return f"turned: the nose is {turned:.2f} eye distances off the middle, at most {MOST_TURNED} is good"
    if scale < LEAST_PIXELS:
        return f"too small: {axes.iod:.0f} pixels between the eyes, {axes.iod * LEAST_PIXELS / scale:.0f} are needed"
    if beyond > MOST_OUTSIDE:
        return f"cut off: {beyond:.0%} of the frame would lie beyond the photo's edge"
    return ""


def check_photos(folder: Path, size: int, workers: int, memory: Path) -> tuple[list[Photo], dict[str, str]]:
    """The photos of a folder that can be used, and why the others cannot.

    Args:
        folder: holds image files.
        size: side of the frames in pixels.
        memory: JSON file of what was found, by the files' content; only new photos are looked at.

    Returns:
        photos in natural order, of different names and content; reason by file name.

    Raises:
        ValueError: no such folder, no image in it, or none that can be used.
    """
    files = media.frame_files(folder) if folder.is_dir() else []
    if not files:
        raise ValueError(f"no photos in {folder}: --faces takes a folder of image files, one face in each")
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    known = _recall(memory)
    missing = {digest: path for path, digest in digests.items() if digest not in known}
    try:
        for digest, found in run_parallel(_find, list(missing.items()), [1] * len(missing), workers):
            known[digest] = found
    finally:
        write_json(memory, {"version": VERSION, "faces": known})
    photos: list[Photo] = []
    left_out: dict[str, str] = {}
    names: dict[str, str] = {}
    for path, digest in digests.items():
        double = names.get(digest) or names.get(path.stem)
        reason = f"the same picture or name as {double}" if double else reason_against(known[digest], size)
        if reason:
            left_out[path.name] = reason
            continue
        names |= {digest: path.name, path.stem: path.name}
        found = known[digest]
        photos.append(Photo(path, digest, np.array(found["landmarks"]), np.array(found["embedding"])))
    if not photos:
        raise ValueError(f"none of the {len(files)} photos in {folder} can be used; {files[0].name}: {reason}")
    return photos, left_out


def _find(job: tuple[str, Path]) -> tuple[str, dict]:
    cv2.setNumThreads(1)
    return job[0], find_face(job[1])


def _recall(memory: Path) -> dict[str, dict]:
    try:
        content = json.loads(memory.read_text(encoding="utf-8")) if memory.is_file() else {}
    except ValueError as error:
        raise ValueError(f"{memory} is damaged ({error}); remove it, and all photos are looked at again") from error
    return content.get("faces", {}) if content.get("version") == VERSION else {}


def keep_apart(photos: list[Photo], others: list[Photo]) -> tuple[list[Photo], dict[str, str]]:
    """Those of ``photos`` whose person is in none of ``others``; reason by file name of the rest."""
    kept, left_out = [], {}
    for photo in photos:
        near = [other for other in others if distance(photo.embedding, other.embedding) < SAME_PERSON]
        if near:
            left_out[photo.path.name] = f"looks like the person of {near[0].path.name}, who is in the other part"
        else:
            kept.append(photo)
    return kept, left_out
