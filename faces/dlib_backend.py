"""dlib: HOG frontal face detector and the 68-landmark model, on the CPU, with nothing to download.

The search is one chain, always by the same detector; ``Face.attempt`` says which step of it found the face:

``plain``
    the image as it is (with ``upsample`` doublings, as the paper's code), threshold 0;
``padded``
    where that finds nothing: the border widened by 25 % with repeated edge pixels, small images enlarged to
    512 pixels, threshold 0: faces cropped tightly to their box, and small ones, are found this way;
``padded, low threshold``
    where that finds nothing either: the best candidate above −0.2, or above −0.5 if it fills at least a third
    of the image.  (In scikit-image's pictures without a face, candidates score −0.26 at most, and are small.)

The landmark model answers in whole pixels and follows the box it is given, which the search finds in coarse steps:
both move landmarks by more than a micro-expression.  So they are a median over boxes about the one found, and then
once more over boxes about the place where these landmarks say the face is.

HOG also finds badges, folds and helmets, and what it finds has no landmarks where a hand, a mask or sunglasses are.
So a face is sure only if the landmarks of those boxes agree, or its score is high, or dlib's CNN face detector, which
is shown any other at one size and brightness, is confident; else it is doubtful (``Face.doubt``).  The thresholds were
chosen on 54 portraits and eleven variants of each (tight, dark, blurred, small, turned, noisy), and on the 165 finds in
the same portraits masked, with sunglasses, halved, upside down and scrambled, of which 9 are called sure.
"""

from __future__ import annotations

import functools
import importlib.util
import threading
from pathlib import Path

import cv2
import numpy as np

from faces.crop import apply_crop, box_matrix
from faces.detector import NUM_LANDMARKS, Detector, DetectorUnavailable, Face, check_image, ranked
from faces.versions import file_digest, package_version
from metrics.landmarks import jitter_box, predicted_landmarks

LANDMARK_MODEL = "shape_predictor_68_face_landmarks.dat"
IDENTITY_MODEL = "dlib_face_recognition_resnet_model_v1.dat"
CONFIRMING_MODEL = "mmod_human_face_detector.dat"
PAD = 0.25  # of the longer side, on every side
SEARCH_SIZE = 512  # a padded image is enlarged to this longer side
LOW_THRESHOLD = -0.5
SMALL_LOW_THRESHOLD = -0.2  # for boxes that fill less than SMALL_SHARE of the image's shorter side
SMALL_SHARE = 1 / 3
RELATIVE_SCORE = 0.25  # boxes scored below this share of the best one are false alarms
JITTERED_BOXES = 31
JITTER = 0.1  # of the box's size: largest shift and growth
# Where the search's boxes lie on average: their side, and how far their centre is above the middle between eyes and
# mouth, in units of √(distance of the eyes · distance from the eyes to the mouth).  (84 faces of the sample data.)
BOX_SIDE, BOX_RISE = 2.14, 0.04
# A face is sure whose landmarks scatter by at most this (RMS, of the box's side), or that has this score, or this
# confidence of the CNN, which sees the box CONFIRMED_SIDE pixels large in a picture of VIEW.
SURE_SCATTER = 0.012
SURE_SCORE = 1.2
SURE_CONFIDENCE = 0.98
CONFIRMED_SIDE, VIEW = 90, 160

Box = tuple[int, int, int, int]


def dlib_model_file(name: str) -> Path:
    """A model file inside the ``face_recognition_models`` package, which is located without being imported.

    (Importing it fails on current setuptools, which no longer ships ``pkg_resources``.)

    Raises:
        DetectorUnavailable: the package or the file is missing.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise DetectorUnavailable(
            f"{name} is part of the package face_recognition_models, which is not installed: "
            "pip install face_recognition_models"
        )
    path = Path(spec.submodule_search_locations[0]) / "models" / name
    if not path.is_file():
        remedy = "pip install --force-reinstall face_recognition_models"
        raise DetectorUnavailable(f"{name} is missing in {path.parent}: {remedy}")
    return path


_threads = threading.local()


def load_finder() -> object:
    """This thread's HOG detector; it keeps its feature pyramid between calls, so it cannot be shared."""
    if not hasattr(_threads, "finder"):
        import dlib

        _threads.finder = dlib.get_frontal_face_detector()
    return _threads.finder


def load_confirmer() -> object:
    """This thread's CNN face detector."""
    if not hasattr(_threads, "confirmer"):
        import dlib

        _threads.confirmer = dlib.cnn_face_detection_model_v1(str(dlib_model_file(CONFIRMING_MODEL)))
    return _threads.confirmer


def confidence(image: np.ndarray, box: Box) -> float:
    """The CNN's confidence that there is a face in the box of a uint8 RGB image (H, W, 3): 0 to about 1.1."""
    x, y, side = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, max(box[2] - box[0], box[3] - box[1])
    half = side * VIEW / CONFIRMED_SIDE / 2
    view = apply_crop(image, box_matrix((x - half, y - half, x + half, y + half), VIEW), VIEW)
    view = cv2.normalize(view, None, 0, 255, cv2.NORM_MINMAX)
    found = [(face.rect.center(), face.confidence) for face in load_confirmer()(view, 0)]
    near = CONFIRMED_SIDE / 2
    return max((sure for at, sure in found if max(abs(at.x - VIEW / 2), abs(at.y - VIEW / 2)) < near), default=0.0)


@functools.cache
def load_model(path: Path) -> object:
    """dlib's landmark model in ``path``.

    Raises:
        DetectorUnavailable: it is none, or not of 68 landmarks.
    """
    import dlib

    try:
        predictor = dlib.shape_predictor(str(path))
    except RuntimeError as error:
        raise DetectorUnavailable(f"{path} is no landmark model of dlib: {error}") from error
    count = predictor(np.zeros((8, 8), np.uint8), dlib.rectangle(0, 0, 7, 7)).num_parts
    if count != NUM_LANDMARKS:
        raise DetectorUnavailable(f"{path} has {count} landmarks; expected a model with {NUM_LANDMARKS}")
    return predictor


@functools.cache
def identity_model() -> object:
    """dlib's model of faces' identities, for :mod:`metrics.identity`."""
    import dlib

    return dlib.face_recognition_model_v1(str(dlib_model_file(IDENTITY_MODEL)))


def face_box(landmarks: np.ndarray) -> tuple[float, float, float, float]:
    """The box (x0, y0, x1, y1) that the search would find on average around landmarks (68, 2), not in its steps."""
    left, right, mouth = (landmarks[part].mean(axis=0) for part in (slice(36, 42), slice(42, 48), slice(48, 60)))
    eyes = (left + right) / 2
    unit = np.sqrt(np.linalg.norm(right - left) * np.linalg.norm(mouth - eyes))
    x, y = (eyes + mouth) / 2 - (0, BOX_RISE * unit)
    half = max(BOX_SIDE / 2 * unit, 1.0)  # a box has an inside, whatever the landmarks are
    return x - half, y - half, x + half, y + half


class DlibDetector(Detector):
    """dlib's HOG face detector and landmark model.

    One object serves several threads, but dlib keeps the interpreter's lock, so that only processes make it faster.
    Unpickled there, it loads its model again.

    Args:
        model_path: another 68-landmark model file (.dat); default: the one in ``face_recognition_models``.
        upsample: how often the image is doubled before the search (1 finds faces from about 40 pixels).
    """

    name = "dlib"
    device = "cpu"

    def __init__(self, model_path: str | Path | None = None, upsample: int = 1):
        if upsample not in range(5):
            raise ValueError(f"upsample is {upsample}; legal are 0, 1, 2, 3 and 4 doublings")
        try:
            import dlib
        except ImportError as error:
            raise DetectorUnavailable(f"dlib cannot be imported ({error}): pip install dlib-bin") from error
        self._model_path, self._upsample = model_path, upsample
        self.model_file = path = dlib_model_file(LANDMARK_MODEL) if model_path is None else Path(model_path)
        if not path.is_file():
            raise DetectorUnavailable(f"no such landmark model: {path}. Expected dlib's 68-landmark .dat file")
        models = "face_recognition_models"
        origin = f"{models} {package_version(models)}" if model_path is None else file_digest(path)
        self.version = f"dlib {dlib.__version__}, {path.name} ({origin}), upsample {upsample}, search 3"

    def __reduce__(self) -> tuple:
        return type(self), (self._model_path, self._upsample)

    def load(self) -> None:
        """Load the landmark model, which else the first picture does.

        Raises:
            DetectorUnavailable: the file is none of 68 landmarks.
        """
        load_model(self.model_file)

    def detect(self, image: np.ndarray) -> list[Face]:
        """Faces of a uint8 RGB image (H, W, 3), sure and large ones first; see the module's head for the search."""
        grey = cv2.cvtColor(check_image(image), cv2.COLOR_RGB2GRAY)
        found = self._search(grey, threshold=0.0)
        if found:
            return ranked([self._face(image, box, score, "plain", *self._shape(grey, box)) for box, score in found])
        return ranked(self._detect_padded(image, grey))

    def landmarks(self, image: np.ndarray, box: Box) -> np.ndarray:
        """Landmarks of the face in ``box`` (x0, y0, x1, y1 exclusive): float32 (68, 2), (x, y) in pixels.

        ``image`` is uint8, RGB (H, W, 3) or grey (H, W).  Always the same for the same image and box.
        """
        return self._shape(image, box)[0]

    def _shape(self, image: np.ndarray, box: Box) -> tuple[np.ndarray, float]:
        """:meth:`landmarks`, and how much they scatter over the boxes: RMS, as a share of the box's side."""
        first = np.median(self._answers(image, box), axis=0)
        answers = self._answers(image, face_box(first))
        steady = np.median(answers, axis=0)
        scatter = np.sqrt(np.square(answers - steady).sum(-1)).mean() / (box[2] - box[0])
        return steady.astype(np.float32), float(scatter)

    def _answers(self, image: np.ndarray, box: tuple[float, ...]) -> np.ndarray:
        """The model's answers (N, 68, 2) in boxes about ``box``."""
        boxes = jitter_box(box, JITTERED_BOXES, JITTER, seed=0)
        model = load_model(self.model_file)
        return predicted_landmarks(image, model, [(x0, y0, x1 - 1, y1 - 1) for x0, y0, x1, y1 in boxes])

    def _face(
        self, image: np.ndarray, box: Box, score: float, attempt: str, landmarks: np.ndarray, scatter: float
    ) -> Face:
        """The record of a find in ``image``, with what makes it doubtful."""
        doubt = ""
        if score < SURE_SCORE and scatter > SURE_SCATTER:
            sure = confidence(image, box)
            if sure < SURE_CONFIDENCE:
                doubt = f"score {score:.2f}, landmarks scatter by {scatter:.1%} of the box, CNN's confidence {sure:.2f}"
        return Face(box, landmarks, score, attempt, doubt)

    def _search(self, grey: np.ndarray, threshold: float) -> list[tuple[Box, float]]:
        """Boxes and scores, best first; of weak candidates (below 0) only the best is kept."""
        boxes, scores, _ = load_finder().run(grey, self._upsample, threshold)
        if len(boxes) == 0:
            return []
        best = max(scores)
        least = RELATIVE_SCORE * best if best > 0.0 else best
        edges = [(box.left(), box.top(), box.right() + 1, box.bottom() + 1) for box in boxes]
        return [(box, float(score)) for box, score in zip(edges, scores, strict=True) if score >= least]

    def _detect_padded(self, image: np.ndarray, grey: np.ndarray) -> list[Face]:
        pad = round(PAD * max(grey.shape))
        wide = cv2.copyMakeBorder(grey, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
        scale = max(1.0, SEARCH_SIZE / max(wide.shape))
        size = (round(wide.shape[1] * scale), round(wide.shape[0] * scale))
        wide = cv2.resize(wide, size, interpolation=cv2.INTER_CUBIC) if scale > 1.0 else wide
        faces = []
        for box, score in self._search(wide, LOW_THRESHOLD):
            original = tuple(round(edge / scale) - pad for edge in box)
            extent = min(original[2] - original[0], original[3] - original[1])
            if score < SMALL_LOW_THRESHOLD and extent < SMALL_SHARE * min(grey.shape):
                continue
            attempt = "padded" if score >= 0.0 else "padded, low threshold"
            # Landmarks lie on pixel centres: (p + 0.5) / scale − 0.5 maps back what cv2.resize did to them.
            points, scatter = self._shape(wide, box)
            landmarks = ((points + 0.5) / scale - 0.5 - pad).astype(np.float32)
            faces.append(self._face(image, original, score, attempt, landmarks, scatter))
        return faces
