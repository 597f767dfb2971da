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
"""

from __future__ import annotations

import functools
import importlib.util
import threading
from pathlib import Path

import cv2
import numpy as np

from faces.detector import NUM_LANDMARKS, Detector, DetectorUnavailable, Face, by_area, check_image
from faces.versions import file_digest, package_version
from metrics.landmarks import jitter_box, median_landmarks

LANDMARK_MODEL = "shape_predictor_68_face_landmarks.dat"
IDENTITY_MODEL = "dlib_face_recognition_resnet_model_v1.dat"
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
        self.version = f"dlib {dlib.__version__}, {path.name} ({origin}), upsample {upsample}, search 2"

    def __reduce__(self) -> tuple:
        return type(self), (self._model_path, self._upsample)

    def load(self) -> None:
        """Load the landmark model, which else the first picture does.

        Raises:
            DetectorUnavailable: the file is none of 68 landmarks.
        """
        load_model(self.model_file)

    def detect(self, image: np.ndarray) -> list[Face]:
        """Faces of a uint8 RGB image (H, W, 3), largest first; see the module's head for the search."""
        grey = cv2.cvtColor(check_image(image), cv2.COLOR_RGB2GRAY)
        found = self._search(grey, threshold=0.0)
        if found:
            return by_area([Face(box, self.landmarks(grey, box), score, "plain") for box, score in found])
        return by_area(self._detect_padded(grey))

    def landmarks(self, image: np.ndarray, box: Box) -> np.ndarray:
        """Landmarks of the face in ``box`` (x0, y0, x1, y1 exclusive): float32 (68, 2), (x, y) in pixels.

        ``image`` is uint8, RGB (H, W, 3) or grey (H, W).  Always the same for the same image and box.
        """
        return self._steady(image, face_box(self._steady(image, box))).astype(np.float32)

    def _steady(self, image: np.ndarray, box: tuple[float, ...]) -> np.ndarray:
        """The model's median answer (68, 2) over boxes about ``box``."""
        boxes = jitter_box(box, JITTERED_BOXES, JITTER, seed=0)
        model = load_model(self.model_file)
        return median_landmarks(image, model, [(x0, y0, x1 - 1, y1 - 1) for x0, y0, x1, y1 in boxes])

    def _search(self, grey: np.ndarray, threshold: float) -> list[tuple[Box, float]]:
        """Boxes and scores, best first; of weak candidates (below 0) only the best is kept."""
        boxes, scores, _ = load_finder().run(grey, self._upsample, threshold)
        if len(boxes) == 0:
            return []
        best = max(scores)
        least = RELATIVE_SCORE * best if best > 0.0 else best
        edges = [(box.left(), box.top(), box.right() + 1, box.bottom() + 1) for box in boxes]
        return [(box, float(score)) for box, score in zip(edges, scores, strict=True) if score >= least]

    def _detect_padded(self, grey: np.ndarray) -> list[Face]:
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
            landmarks = (self.landmarks(wide, box) + 0.5) / scale - 0.5 - pad
            faces.append(Face(original, landmarks.astype(np.float32), score, attempt))
        return faces
