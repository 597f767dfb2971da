"""What results were made from: a record of each, so that none outlives a change of its clips or their key points."""

from __future__ import annotations

import json
from pathlib import Path

from animation.pairs import Pair
from frames_dataset import ClipFolder
from media import atomic_path
from media.fingerprint import Fingerprint

FOLDER = ".made_from"
REFERENCE = "reference frame"


class MadeFrom:
    """The records of the results in ``folder``, a file each in its ``.made_from``.

    A record is written once its result is whole; without one nobody knows what a result was made from.
    """

    def __init__(self, folder: Path, clips: ClipFolder):
        self.folder, self.clips = folder / FOLDER, clips
        self._now: dict[Path, Fingerprint] = {}  # files are looked at once a run
        self._fits: dict[tuple[Path, Fingerprint], bool] = {}

    def _files(self, pair: Pair) -> dict[str, Path]:
        """What a result is made from, by what it is to it: ``driving clip``, ``source key points`` …"""
        roles = {"driving": pair.driving, "source": pair.source}
        return {f"{role} {kind}": path for role, name in roles.items() for kind, path in self.clips.files(name).items()}

    def _path(self, pair: Pair) -> Path:
        return self.folder / f"{pair.name}.json"

    def knows(self, pair: Pair) -> bool:
        """Whether there is a record of a pair's result."""
        return self._path(pair).is_file()

    def is_current(self, pair: Pair) -> bool:
        """Whether the record of a pair's result is that of what there is now."""
        try:
            before = json.loads(self._path(pair).read_text(encoding="utf-8"))
            reference = before.pop(REFERENCE)
            prints = {what: Fingerprint.parse(text) for what, text in before.items()}
        except (OSError, ValueError, AttributeError, KeyError):  # there is none, or it is broken: nobody knows
            return False
        files = self._files(pair)
        if reference != pair.reference or prints.keys() != files.keys():
            return False
        return all(entry is not None and self._still(files[what], entry) for what, entry in prints.items())

    def _still(self, path: Path, before: Fingerprint) -> bool:
        if (path, before) not in self._fits:
            self._fits[path, before] = before.fits(path)
        return self._fits[path, before]

    def now(self, pair: Pair) -> dict[str, str | int]:
        """The record of a result that is made now."""
        files = self._files(pair)
        for path in files.values():
            if path not in self._now:
                self._now[path] = Fingerprint.of(path)
        return {REFERENCE: pair.reference, **{what: str(self._now[path]) for what, path in files.items()}}

    def write(self, pair: Pair, record: dict[str, str | int]) -> None:
        """Keep the record that :meth:`now` gave before a pair's result was made."""
        with atomic_path(self._path(pair)) as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
