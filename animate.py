"""The animation engine behind ``run.py --mode animate``: (driving, source) pairs → clips.

How one pair is animated stands in ``animation/clip_animator.py``; where its result lies, in ``animation/results.py``.
"""

from __future__ import annotations

if __name__ == "__main__":
    raise SystemExit("animate.py is no command: python run.py --mode animate (see python run.py --help)")

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path

import torch
from tqdm import tqdm

from animation import results
from animation.clip_animator import STILL, ClipAnimator, Take, driving_rate
from animation.made_from import FOLDER as MADE_FROM
from animation.made_from import MadeFrom
from animation.pairs import Pair, find_pairs
from animation.retiming import RetimingError
from checkpoint import LoadedModel
from frames_dataset import ClipFolder, DataError, inputs_of
from media import MediaError, clear_leftovers, gif_slowdown, open_output_folder
from media.threads import WriteBehind
from modules import get_family
from modules.animator import normalize_kp  # noqa: F401 - users look for it here
from parallel.work_sharing import Claims
from parallel.workers import global_rank, global_size


class Animation:
    """The pairs of one call of :func:`animate`, some of which other processes make.

    Raises:
        DataError: clips without labels for a labelled set, or a folder that holds results of other settings.
        OutputError: a folder that is one of ``inputs``, or holds what this program did not write.
    """

    def __init__(
        self,
        animator: ClipAnimator,
        pairs: list[Pair],
        params: dict,
        settings: dict,
        inputs: dict[str, str | Path | None],
        out: Path,
        anew: bool,
    ):
        self.animator, self.clips, self.pairs = animator, animator.clips, pairs
        self.params, self.settings, self.out, self.overwrite = params, settings, out, anew
        self.dataset = results.labelled_set(params, self.clips, pairs)
        open_output_folder(out, "--out", "results of an animation", inputs)
        if self.dataset:  # takes in results of many data sets
            open_output_folder(self.dataset.root, "animate_params.dataset_out", "a generated data set", inputs)
            results.check_settings(self.dataset.root, {k: v for k, v in settings.items() if k != "root_dir"}, anew)
        results.check_settings(out, settings, anew)
        self.claims = Claims(self.out)
        self.folders = [out] if self.dataset is None else [out, self.dataset.root]
        self.made_from = [MadeFrom(out, self.clips, lambda pair: results.files_of(*self._paths(pair)))]
        if self.dataset:
            self.made_from.append(MadeFrom(self.dataset.root, self.clips, self._labelled))
        self.made: set[Pair] = set()
        self.failures: dict[Pair, str] = {}

    def run(self) -> None:
        """Make what is missing, and what was made from other clips or key points than there are now."""
        self._clear()
        if unknown := sum(results.finished(*self._paths(p)) and not self.made_from[0].knows(p) for p in self.pairs):
            tqdm.write(f"{unknown} results in {self.out} do not say what they were made from, and are made anew")
        with WriteBehind(self.animator.overlap) as behind:
            for pair, claim in tqdm(self._mine(), desc="animate", unit="pair", total=len(self.pairs)):
                with self._failing_alone(pair):
                    for made_from in self.made_from:
                        made_from.check(pair, self.overwrite)
                    records = [made_from.now(pair) for made_from in self.made_from]
                    driving_rate(self.clips.open(pair.driving), self.params.get("fps"))
                    take = self.animator.take(pair)
                    if slowdown := gif_slowdown(self.params["format"], take.fps):
                        tqdm.write(f"{pair.name}: {slowdown}")
                    behind(functools.partial(self._write, pair, take, records, claim.pop_all()), take)

    def _mine(self) -> Iterator[tuple[Pair, contextlib.ExitStack]]:
        """The pairs for this process, each with its claim."""
        if not self.overwrite:
            yield from self.claims.share(self.pairs, lambda pair: pair.name, self._done)
            return
        # What is there says nothing: each process of a team makes its share anew.
        single = list(dict.fromkeys(self.pairs))  # two writers must not meet in one result
        for pair in single[global_rank() :: global_size()]:
            with contextlib.ExitStack() as claim:
                claim.enter_context(self.claims.exclusive(pair.name))
                yield pair, claim

    def _paths(self, pair: Pair) -> tuple[Path, Path]:
        return results.result_paths(self.out, pair.name, self.params["format"])

    def _labelled(self, pair: Pair) -> list[Path]:
        folder = self.dataset.folder(pair.name)
        return results.files_of(folder, folder)

    def _done(self, pair: Pair) -> bool:
        there = results.finished(*self._paths(pair)) and (self.dataset is None or self.dataset.holds(pair.name))
        return there and all(made_from.is_current(pair) for made_from in self.made_from)

    def _clear(self) -> None:
        """Remove what killed processes have left behind."""
        for folder in self.folders:
            clear_leftovers(folder, folder / "png", folder / "train", folder / MADE_FROM)
            Claims(folder).tidy()

    @contextlib.contextmanager
    def _failing_alone(self, pair: Pair) -> Iterator[None]:
        try:
            yield
        except (DataError, MediaError, RetimingError) as error:
            self.failures[pair] = f"{pair.name}: {error}"
            tqdm.write(f"failed: {self.failures[pair]}")

    def _write(
        self, pair: Pair, take: Take, records: list[dict], claim: contextlib.ExitStack, frames: Iterator
    ) -> None:
        with claim, self._failing_alone(pair):
            folder = self.dataset.folder(pair.name) if self.dataset else None
            for made_from in self.made_from:
                made_from.forget(pair)
            results.write_result(frames, *self._paths(pair), take.fps, folder)
            if self.dataset:
                with Claims(self.dataset.root).exclusive("clips.csv"):  # also from those who write to another ``out``
                    self.dataset.add(results.take_record(take, self.clips, self.params))
            for made_from, record in zip(self.made_from, records, strict=True):
                made_from.write(pair, record)
            if take.largest is not None and take.largest < STILL and self.params.get("amplify") != 0:
                tqdm.write(
                    f"{pair.name}: hardly moves (at most {take.largest:.2f} pixels): the driving clip is still, or the "
                    "model does not carry its movement"
                )
            self.made.add(pair)

    def finish(self) -> list[results.Result]:
        """All results that are there, by whomever, entered in the manifest; says how many."""
        there = [p for p in self.pairs if p not in self.failures and self._done(p)]  # an earlier one keeps its row
        found = [results.Result(pair, *self._paths(pair), made=pair in self.made) for pair in there]
        with self.claims.exclusive("results"):  # what others have listed is kept
            results.write_manifest(self.out, found, self.clips, self.settings)
        made, failed = len(self.made), len(self.failures)
        tqdm.write(f"{made} made, {len(found) - made} were there already, {failed} failed: {self.out}")
        self._clear()
        return found


def animate(
    model: LoadedModel,
    checkpoint: str | Path,
    out: str | Path,
    device: torch.device,
    overwrite: bool = False,
    pairs: list[Pair] | None = None,
    overlap: bool | None = None,
) -> list[results.Result]:
    """Animate all pairs of the config.

    Args:
        model: networks, and settings with ``dataset_params`` and ``animate_params``.
        checkpoint: where the networks come from; its hash goes into ``settings.json``.
        out: results go to ``<out>/<driving>-<source>.mp4`` and ``<out>/png/<driving>-<source>.png``.
        device: where to compute.
        overwrite: make finished results again.
        pairs: in place of the config's.
        overlap: read and write in background threads; None: where it pays.

    Raises:
        DataError: two pairs whose results would have one name, clips without key points, or a folder that holds
            results of other settings.
        OutputError: ``out`` is an input, or holds what this program did not write.
        torch.OutOfMemoryError: the device's memory does not suffice; the message says which batch size to try.
        DataError, MediaError: data that do not fit; every other pair is still made, then the failed ones are listed.
        RetimingError: a timing that is none.
    """
    config, family, params = model.config, get_family(model.config), model.config["animate_params"]
    clips = ClipFolder(config["dataset_params"], "test", family.uses_prior, family.uses_tracks)
    pairs = find_pairs(config, clips) if pairs is None else pairs
    results.check_names(pairs)
    names = list(dict.fromkeys(name for pair in pairs for name in (pair.driving, pair.source)))
    clips.check_keypoints(names)
    clips.say_faces("animated", names)
    settings = {
        **results.common_settings(model, checkpoint, params["format"]),
        **{name: params.get(name) for name in ("mode", "normalization_params", "fps", "head")},
        **results.control_settings(params),
    }
    animator = ClipAnimator(model, clips, device, params["batch_size"], overlap=overlap)
    inputs = {**inputs_of(config["dataset_params"]), "--checkpoint": checkpoint}
    job = Animation(animator, pairs, params, settings, inputs, Path(out), overwrite)
    job.run()
    found = job.finish()
    if job.failures:
        listed = [job.failures[pair] for pair in job.pairs if pair in job.failures]
        raise results.some_failed(listed, len(job.pairs), "pairs")
    return found
