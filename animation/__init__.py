"""One pair while it moves, and what is left of it: results, manifests, labelled sets, exported networks."""

from pathlib import Path

SAMPLE_MODEL = Path(__file__).resolve().parent.parent / "sup-mat" / "sample_model.pth.tar"
