"""Built-in sample data: faces made from two public-domain portraits, moving by known action units.

`clips` makes clips with ground truth in memory, `dataset` writes the data set.
"""

from corpora.sample.clips import SampleClip, face_model, sample_clip, still_face
from corpora.sample.dataset import build

__all__ = ["SampleClip", "build", "face_model", "sample_clip", "still_face"]
