"""Faces in pictures: detectors behind one function, one crop per clip, key point files.

    detector = make_detector("dlib")           # or "face-alignment"; never one in place of the other
    face = largest_face(detector, frame)       # Face(box, landmarks (68, 2), score, doubt) or None

`crop` cuts one square out of all frames of a clip; `photo` puts a moving face back into its photo; `keypoint_files`
reads and writes the key points of clips, `tracking` follows them.
"""

from __future__ import annotations

from pathlib import Path

from faces.detector import (
    Detector,
    DetectorUnavailable,
    Face,
    choose_face,
    face_choice,
    largest_face,
    number_of,
    several_faces,
)
from faces.dlib_backend import DlibDetector, dlib_model_file

DETECTORS = ("face-alignment", "dlib")


def make_detector(
    name: str = "dlib",
    device: str = "auto",
    model_path: str | Path | None = None,
    upsample: int | None = None,
    load: bool = True,
) -> Detector:
    """The detector called ``name``; never another one in its place.

    Args:
        name: ``dlib`` (offline, CPU) or ``face-alignment`` (weights are downloaded once; CPU or GPU).
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        model_path: a landmark model file to use instead of the usual one.
        upsample: dlib only: doublings of the image before the search, 1 by default.
        load: dlib only: False loads the model with the first picture, for who only hands the detector on.

    Raises:
        DetectorUnavailable: it cannot be had; the message says what to put where, and the alternative.
        ValueError: an unknown name, or an option the detector does not have.
    """
    if name == "dlib":
        if device not in ("auto", "cpu"):
            raise ValueError(f"dlib runs on the CPU, not on {device!r}; legal devices for it are auto and cpu")
        detector = DlibDetector(model_path, 1 if upsample is None else upsample)
        if load:
            detector.load()
        return detector
    if name == "face-alignment":
        if upsample is not None:
            raise ValueError("upsample belongs to dlib; face-alignment has no such option")
        from faces.face_alignment_backend import FaceAlignmentDetector  # slow to import: only on demand

        return FaceAlignmentDetector(device, model_path)
    raise ValueError(f"unknown detector {name!r}; legal are {', '.join(DETECTORS)}")
