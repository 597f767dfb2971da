"""Built-in sample data: faces made from two public-domain portraits, moving by known action units."""

from corpora.sample.dataset import build

__all__ = ["build"]
