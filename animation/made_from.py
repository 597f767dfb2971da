"""What results were made from, and what they were: none outlives a change of its clips or their key points, and none
passes for this program's once somebody has changed it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from animation.clip_animator import Clips
from animation.pairs import Pair
from media import OutputError, atomic_path, check_own
from media.fingerprint import Fingerprint

FOLDER = ".made_from"
REFERENCE, RESULTS = "reference frame", "results"


@dataclass(frozen=True)
class _Record:
    """What a result was made from, by what it was to it, and what it was, by its files' names."""

    reference: int
    made_from: dict[str, Fingerprint]
    results: dict[str, Fingerprint]


class MadeFrom:
    """The records of the results in ``folder``, a file each in its ``.made_from``.

    A record is written once its result is whole, and goes before that is written anew: without one nobody knows what a
    result was made from.

    Args:
        results: files and folders of a pair's result, those that there are.
    """

    def __init__(self, folder: Path, clips: Clips, sources: Clips, results: Callable[[Pair], list[Path]]):
        self.folder, self.clips, self.sources, self._results = folder / FOLDER, clips, sources, results
        self._now: dict[Path, Fingerprint] = {}  # files are looked at once a run
        self._fits: dict[tuple[Path, Fingerprint], bool] = {}

    def _files(self, pair: Pair) -> dict[str, Path]:
        """What a result is made from, by what it is to it: ``driving clip``, ``source key points`` …"""
        roles = {"driving": self.clips.files(pair.driving), "source": self.sources.files(pair.source)}
        return {f"{role} {kind}": path for role, files in roles.items() for kind, path in files.items()}

    def _path(self, pair: Pair) -> Path:
        return self.folder / f"{pair.name}.json"

    def _read(self, pair: Pair) -> _Record | None:
        """The record of a pair's result; None where there is none, or it is broken or of an earlier version."""
        try:
            content = json.loads(self._path(pair).read_text(encoding="utf-8"))
            reference, results = content.pop(REFERENCE), content.pop(RESULTS)
            record = _Record(reference, *({k: Fingerprint.parse(v) for k, v in d.items()} for d in (content, results)))
        except (OSError, ValueError, AttributeError, KeyError):
            return None
        return None if None in (*record.made_from.values(), *record.results.values()) else record

    def knows(self, pair: Pair) -> bool:
        """Whether there is a record of a pair's result."""
        return self._read(pair) is not None

    def is_current(self, pair: Pair) -> bool:
        """Whether the record of a pair's result is that of what there is now, and the result is as it was written."""
        record, files = self._read(pair), self._files(pair)
        if record is None or record.reference != pair.reference or record.made_from.keys() != files.keys():
            return False
        if self._changed(pair, record) is not None:
            return False
        return all(self._still(files[what], before) for what, before in record.made_from.items())

    def check(self, pair: Pair, overwrite: bool) -> None:
        """See that a pair's result may be made, or made anew; the pair must be this process's own.

        Raises:
            OutputError: somebody has changed it since; with ``overwrite``, only where this program did not write it.
        """
        record = self._read(pair)
        changed = None if record is None or overwrite else self._changed(pair, record)
        if changed is not None:
            raise OutputError(
                f"{changed} was changed after this program wrote it: it is left as it is. Move it out of the folder "
                "and run the command again, or --overwrite it"
            )
        for path in self._results(pair):
            check_own(path, named=path.is_file())

    def _changed(self, pair: Pair, record: _Record) -> Path | None:
        """A part of a pair's result that is not what was written, if any; one that is gone does not count."""
        for path in self._results(pair):
            before = record.results.get(path.name)
            if before is None or not self._still(path, before):
                return path
        return None

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

    def forget(self, pair: Pair) -> None:
        """Remove a pair's record, before its result is written anew."""
        self._path(pair).unlink(missing_ok=True)

    def write(self, pair: Pair, record: dict[str, str | int]) -> None:
        """Keep the record that :meth:`now` gave before a pair's result was made, and what was made."""
        results = {path.name: str(Fingerprint.of(path)) for path in self._results(pair)}
        with atomic_path(self._path(pair)) as temporary:
            temporary.write_text(json.dumps({**record, RESULTS: results}, indent=1) + "\n", encoding="utf-8")
