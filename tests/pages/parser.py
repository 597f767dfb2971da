"""Reads a page back: texts, attributes and tags, and that every tag is closed."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

HOSTILE = "a\"b'c <unexpected>&amp; ü"
VOID = ("meta", "link", "br", "img", "input")


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.texts, self.attributes, self.tags, self.images = [""], set(), set(), []
        self._open = []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {(tag, name, value) for name, value in attributes}
        if tag == "img":
            self.images.append(dict(attributes)["src"])
        if tag not in VOID:
            self._open.append(tag)
        self.texts.append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        self.texts.append("")

    def handle_data(self, data):
        self.texts[-1] += data


def read_page(path: Path) -> _Page:
    """``texts`` between tags, ``attributes`` as (tag, name, value), ``tags``, and the ``images``' sources in order."""
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    assert not page._open
    page.texts = [text.strip() for text in page.texts]
    return page
