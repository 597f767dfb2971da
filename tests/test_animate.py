"""Animation: what moves whom, from which frame on, at which rate; streamed, resumable, never mixed up."""

from __future__ import annotations

import csv
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage.io
import torch

import animate as engine
from animate import animate
from animation import clip_animator
from animation.clip_animator import ClipAnimator, Take, batches
from animation.pairs import Pair
from animation.results import find_lossless, finished, result_paths
from checkpoint import LoadedModel, write_checkpoint
from corpora import ClipRecord, read_clips, write_clips
from corpora.generated import GeneratedSet
from faces.keypoint_files import KeypointError, save_keypoints
from frames_dataset import ClipFolder, DataError, FramesDataset
from media import Clip, open_clip, write_clip, write_frame_folder
from media.ownership import MARKER
from modules import FAMILIES, build_networks, get_family
from modules.animator import KeyPointAnimator
from parallel.work_sharing import Claims
from tests.conftest import golden_state, make_data, moving_frames, random_keypoints, training_config
from tests.pictures import leftovers, write_strip, write_truncated_mp4

CPU = torch.device("cpu")
FRAMES = 5


@pytest.fixture
def model(data, fpb_golden) -> LoadedModel:
    """The golden networks with consistent corners, more contrast, and Jacobians that move visibly."""
    config = training_config("fpb_fomm", data)
    config["model_params"]["common_params"]["align_corners"] = True
    model = load(config, {name: golden_state(fpb_golden, name) for name in ("generator", "kp_detector")})
    model.networks["generator"].final.weight.mul_(20)
    model.networks["kp_detector"].jacobian.weight.mul_(20)
    return model


def load(config: dict, states: dict) -> LoadedModel:
    torch.manual_seed(0)
    networks = {name: net for name, net in build_networks(config).items() if name in states or not states}
    for name, state in states.items():
        networks[name].load_state_dict(state)
    for network in networks.values():
        network.eval().requires_grad_(False)
    return LoadedModel(networks, config, config["model"])


@pytest.fixture
def run(model, tmp_path):
    """``run(overwrite=…, overlap=…, out=…, animate_params…)`` animates into a folder; returns results by pair name."""
    write_checkpoint(tmp_path / "model.pth", {"generator": model.networks["generator"].state_dict()})

    def animated(
        overwrite: bool = False, overlap: bool | None = None, out: str = "out", **params
    ) -> dict[str, engine.results.Result]:
        model.config["animate_params"].update(params)
        results = animate(model, tmp_path / "model.pth", tmp_path / out, CPU, overwrite, overlap=overlap)
        return {result.pair.name: result for result in results}

    return animated


def clips_of(model: LoadedModel) -> ClipFolder:
    family = get_family(model.config)
    return ClipFolder(model.config["dataset_params"], "test", family.uses_prior, family.uses_tracks)


def frames_of(
    model: LoadedModel, pair: Pair, batch_size: int = 4, reconstruction: bool = False, device: torch.device = CPU
) -> np.ndarray:
    animator = ClipAnimator(model, clips_of(model), device, batch_size, reconstruction)
    return np.stack(list(animator.take(pair)))


def difference(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


# ------------------------------------------------------------------------------------------ motion
def test_own_motion_is_the_reconstruction(model):
    """A source that is driven by its own clip, in relative mode, is that clip's reconstruction."""
    reconstructed = frames_of(model, Pair("test_0", "test_0"), reconstruction=True)
    assert difference(reconstructed[0], reconstructed[-1]) > 20, "something moves"
    assert difference(frames_of(model, Pair("test_0", "test_0")), reconstructed) <= 1


def test_motion_starts_from_the_reference_frame(model):
    """At the reference frame nothing has moved, whichever frame that is."""
    still = frames_of(model, Pair("test_1", "test_0", 0))[0]
    later = frames_of(model, Pair("test_1", "test_0", 3))
    assert difference(later[3], still) <= 1
    assert difference(later[0], still) > 10


def test_source_gives_its_first_frame_and_the_driving_clip_its_motion(model, data):
    pair = Pair("test_1", "test_0")
    before = frames_of(model, pair)
    assert len(before) == FRAMES
    source, driving = (data / "test" / name for name in ("test_0", "test_1"))
    frames = open_clip(source).read_all()
    write_frame_folder(source, [frames[0], *moving_frames(7, 2)])
    assert np.array_equal(frames_of(model, pair), before)
    write_frame_folder(source, frames[::-1])
    assert difference(frames_of(model, pair), before) > 20
    write_frame_folder(source, frames)
    frames = open_clip(driving).read_all()
    write_frame_folder(driving, frames[[0, 1, 0, 1]])
    after = frames_of(model, pair)
    assert difference(after[:2], before[:2]) <= 1
    assert difference(after[2:], before[:2]) <= 1


def test_absolute_mode_takes_the_driving_pose(model):
    pair = Pair("test_1", "test_0")
    relative = frames_of(model, pair)
    model.config["animate_params"]["normalization_params"] = {"use_relative_movement": False}
    absolute = frames_of(model, pair)
    assert difference(absolute[0], relative[0]) > 20
    assert difference(absolute[-1], absolute[0]) > 10


def test_key_points_follow_the_frame_size(model, data, tmp_path):
    """Clips of twice the size with key points twice as far apart give what the small ones give."""
    model.config["dataset_params"]["frame_shape"] = [32, 32, 3]
    pair = Pair("test_1", "test_0")
    large = frames_of(model, pair)
    clips = clips_of(model)
    for name in clips.names:
        small = [clips.fit(frame) for frame in clips.open(name)]
        points = clips.keypoints(name, (64, 64))
        write_frame_folder(data / "test" / name, small)
        save_keypoints(data / "keypoints", name, points)
    assert difference(frames_of(model, pair), large) <= 1


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_batch_size_changes_nothing(model, batch_size):
    pair = Pair("test_1", "test_0")
    assert difference(frames_of(model, pair, batch_size), frames_of(model, pair)) <= 1


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "fpb_fomm"])
def test_other_families_animate(family, data):
    model = load(training_config(family, data), {})
    frames = frames_of(model, Pair("test_1", "test_0"))
    assert frames.shape == (FRAMES, 64, 64, 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: its pictures are the processor's")
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_cuda_is_close(family, precision, data, monkeypatch):
    """To a grey level in float32; in bf16, which on the processor is within 3 grey levels, to 8."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    model = load(training_config(family, data), {})
    pair, expected = Pair("test_1", "test_0"), frames_of(model, Pair("test_1", "test_0"))
    model.config["animate_params"]["precision"] = precision
    for network in model.networks.values():
        network.to("cuda")
    found = frames_of(model, pair, device=torch.device("cuda"))
    assert difference(found, expected) <= (1 if precision == "float32" else 8)


# ------------------------------------------------------------------------------------------ control
def test_controls_reach_the_result(model):
    """What the config asks for: nothing moves at 0, more at 2, and a part of the face alone."""
    pair, params = Pair("test_1", "test_0"), model.config["animate_params"]
    plain = frames_of(model, pair)
    params["amplify"] = 0
    still = frames_of(model, pair)
    assert difference(still, still[:1]) == 0 and difference(plain, still) > 10
    params["amplify"] = 2
    assert difference(frames_of(model, pair), plain) > 10
    params.update(amplify=1, regions=["brows"])
    part = frames_of(model, pair)
    assert difference(part, plain) > 10 and difference(part, still) > 10
    assert difference(frames_of(model, pair, reconstruction=True)[-1], part[-1]) > 10, "no control in reconstruction"


def test_results_from_before_there_were_controls_are_kept(run, tmp_path):
    first = run()
    settings = tmp_path / "out" / "settings.json"
    old = {key: value for key, value in json.loads(settings.read_text()).items() if key not in clip_animator.CONTROLS}
    settings.write_text(json.dumps(old))
    assert set(run()) == set(first)
    with pytest.raises(DataError, match=r"other settings \(amplify differ"):
        run(amplify=2)


def test_results_of_another_data_set_are_not_mixed(run, model, data, tmp_path):
    """Their clips may have the same names; folders from before the data set was kept are gone on with."""
    run()
    settings = tmp_path / "out" / "settings.json"
    kept = json.loads(settings.read_text())
    assert kept.pop("root_dir") == [data.as_posix()]
    shutil.copytree(data, tmp_path / "other")
    model.config["dataset_params"]["root_dir"] = str(tmp_path / "other")
    with pytest.raises(DataError, match=r"other settings \(root_dir differ.*--out for another folder"):
        run()
    settings.write_text(json.dumps(kept))
    for same in (data, f"{data.parent}/./{data.name}/"):
        model.config["dataset_params"]["root_dir"] = str(same)
        assert not any(result.made for result in run().values())


# ------------------------------------------------------------------------------------------ timing
def label(data: Path, fps: float = 100.0, **marks) -> None:
    """A clip list for the test clips: test_0 shows happiness, test_1 surprise."""
    words = [("s0", "6+12", "happiness", "positive"), ("s1", "1+2", "surprise", "surprise")]
    records = [
        ClipRecord(f"test_{i}", "test", "casme2", who, "", fps, FRAMES, 46, 48, 50, **marks, action_units=units,
                   emotion=emotion, class3=kind)
        for i, (who, units, emotion, kind) in enumerate(words)
    ]  # fmt: skip
    write_clips(data / "clips.csv", records)


MARKS = {"onset_index": 0, "apex_index": 2, "offset_index": 4}
PAIR = Pair("test_1", "test_0")


def taken(model: LoadedModel, pair: Pair = PAIR, **params) -> tuple[Take, np.ndarray]:
    """A finished take and its frames."""
    model.config["animate_params"].update(params)
    take = ClipAnimator(model, clips_of(model), CPU, batch_size=3).take(pair)
    return take, np.stack(list(take))


def test_another_rate_interpolates_the_movement(model, data):
    label(data, fps=100.0)
    own = frames_of(model, PAIR)
    take, double = taken(model, output_fps=200)
    assert (take.fps, take.count, len(double)) == (200, 2 * FRAMES, 2 * FRAMES)
    assert difference(double[::2], own) <= 1, "the clip's own frames are among them"
    assert difference(double[1], own[0]) > 2 and difference(double[1], own[1]) > 2
    blend = (double[0].astype(int) + double[2]) / 2
    assert np.abs(double[1] - blend).mean() < np.abs(double[0] - blend).mean(), "in between"
    take, half = taken(model, output_fps=50)
    assert take.fps == 50 and difference(half, own[[0, 2]]) <= 1


def test_retimed_clips_show_the_marks_where_asked(model, data):
    label(data, **MARKS)
    own = frames_of(model, PAIR)
    take, frames = taken(model, retime="2:8:10")
    assert len(frames) == 11 and take.fps == 100
    assert difference(frames[[0, 1, 2]], own[[0, 0, 0]]) <= 1
    assert difference(frames[[8, 10]], own[[2, 4]]) <= 1


def test_curve_files_lead_the_movement(model, data, tmp_path):
    label(data)
    curve = tmp_path / "back.csv"
    curve.write_text("time,position\n0,4\n0.04,0\n")
    own = frames_of(model, PAIR)
    assert difference(taken(model, retime=str(curve))[1], own[::-1]) <= 1


def test_unannotated_apices_are_found_and_said(model, data, capsys):
    """moving_frames shift by a pixel a frame: test_1 played there and back has its apex in the middle."""
    frames = open_clip(data / "test" / "test_1").read_all()
    write_frame_folder(data / "test" / "test_1", frames[[0, 1, 2, 3, 4, 3, 2, 1, 0]])
    own = frames_of(model, PAIR)
    _, retimed = taken(model, retime="0:2:4")
    said = capsys.readouterr().out
    apex = int(said.partition("taking frame ")[2].partition(",")[0])
    assert "test_1: clips.csv does not say where its apex is" in said and 0 < apex < 8
    assert difference(retimed[2], own[apex]) <= 1


def test_reconstruction_keeps_its_own_time(model, data):
    label(data, **MARKS)
    model.config["animate_params"].update(retime="0:8:20", output_fps=50, colour="source", reference=2)
    assert len(frames_of(model, Pair("test_0", "test_0"), reconstruction=True)) == FRAMES


@pytest.mark.parametrize("family", ["fomm", "mraa", "fpb_tracked"])
def test_every_family_can_be_retimed(family, data):
    label(data, **MARKS)
    model = load(training_config(family, data), {})
    params = {"retime": "0:4:8", "output_fps": 50, "colour": "source", "amplify": 1.5}
    model.config["animate_params"].update(params)
    tracked = get_family(model.config).uses_tracks
    clips = ClipFolder(model.config["dataset_params"], "test", get_family(model.config).uses_prior, tracked)
    take = ClipAnimator(model, clips, CPU, 2).take(PAIR)
    assert np.stack(list(take)).shape == (9, 64, 64, 3) and take.fps == 50


# ------------------------------------------------------------------------------------------ reference
def test_reference_frame(model, data):
    """A number, the annotated onset, or the pairs list's where nothing is asked."""
    label(data, onset_index=2)
    at = {n: frames_of(model, Pair("test_1", "test_0", n)) for n in (0, 2, 3)}
    assert difference(at[0], at[2]) > 10
    for reference, expected in ((3, 3), ("onset", 2), (0, 0), (None, 3)):
        take, frames = taken(model, Pair("test_1", "test_0", 3), reference=reference)
        assert take.pair.reference == expected
        assert difference(frames, at[expected]) <= 1, "the same but for the order in which threads add up"
    (data / "clips.csv").unlink()
    clip_animator.clip_record.__globals__["_listed"].cache_clear()
    assert taken(model, reference="onset")[0].pair.reference == 0, "without an annotation the first frame"


def test_automatic_reference_is_the_frame_most_like_the_source(model, data):
    """The clip of test_1 begins with its mouth moved; the source has the face of its frame 3."""
    points = clips_of(model).keypoints("test_1", (64, 64))
    track = points.repeat(FRAMES, 1, 1)
    for frame, shift in enumerate((4.0, 3.0, 2.0, 0.0, 1.0)):
        track[frame, 7:12, 1] += shift
    save_keypoints(data / "keypoints", "test_0", points)
    animator = ClipAnimator(load(training_config("fpb_fomm", data), {}), clips_of(model), CPU)
    animator.reference = "auto"
    animator._driving_points = lambda name, clip: track
    assert animator.take(PAIR).pair.reference == 3


def test_automatic_reference_without_a_stored_track(model, data):
    model.config["animate_params"]["reference"] = "auto"
    points = clips_of(model).keypoints("test_1", (64, 64))
    save_keypoints(data / "keypoints", "test_0", points)
    assert taken(model)[0].pair.reference in range(FRAMES)


@pytest.mark.parametrize("family", ["fomm", "mraa"])
def test_automatic_reference_needs_key_points(family, data):
    model = load(training_config(family, data), {})
    model.config["animate_params"]["reference"] = "auto"
    with pytest.raises(DataError, match=rf"reference: auto.*model: {family} does not have.*onset"):
        ClipAnimator(model, ClipFolder(model.config["dataset_params"], "test", False), CPU)


# ------------------------------------------------------------------------------------------ colour
def chroma(frames: np.ndarray) -> np.ndarray:
    images = clip_animator.to_tensor(frames)
    return clip_animator.chrominance(images).numpy()


def test_colour_of_the_photo_on_a_grey_model(model, data):
    """What a model sees is grey, what it makes gives the luminance, and colours come from the source, moved along."""
    source = open_clip(data / "test" / "test_0").first()
    grey = [np.repeat(f.mean(-1, keepdims=True).astype(np.uint8), 3, -1) for f in open_clip(data / "test" / "test_1")]
    take, frames = taken(model, colour="source")
    write_frame_folder(data / "test" / "test_1", grey)
    assert difference(taken(model, colour="model")[1], frames) > 20
    moving = taken(model, colour="source")[1]
    luma = clip_animator.luminance(clip_animator.to_tensor(moving))
    write_frame_folder(data / "test" / "test_0", [np.rint(source @ [0.299, 0.587, 0.114])[..., None].repeat(3, -1)
                                                  .astype(np.uint8)])  # fmt: skip
    made = clip_animator.luminance(clip_animator.to_tensor(taken(model, colour="model")[1]))
    inside = (moving > 2) & (moving < 253)
    assert float((luma - made).abs()[torch.from_numpy(inside).all(-1)[:, None]].max()) < 0.02
    model.config["animate_params"].update(amplify=0)
    write_frame_folder(data / "test" / "test_0", [source])
    still = taken(model, colour="source")[1]
    unclipped = ((still > 2) & (still < 253)).all(-1)
    error = np.abs(chroma(still) - chroma(source[None])).max(1)[unclipped]
    assert error.max() < 0.03 and chroma(source[None]).std() > 0.05, "colours stay where they are when nothing moves"


# ------------------------------------------------------------------------------------------ labelled sets
def test_results_are_a_labelled_data_set(run, model, data, tmp_path):
    """Layout and list of the corpora: labels of the driving clip, subject of the source, lossless frames."""
    label(data, **MARKS)
    results = run(dataset_out=str(tmp_path / "made"), output_fps=50, regions=["brows"])
    records = {record.clip: record for record in read_clips(tmp_path / "made" / "clips.csv")}
    assert set(records) == set(results) == {"test_0-test_1", "test_1-test_0"}
    row = records["test_1-test_0"]
    assert (row.emotion, row.class3, row.subject, row.action_units) == ("surprise", "surprise", "s0", "1+2")
    assert records["test_0-test_1"].action_units == "", "6 and 12 do not move"
    assert (row.fps, row.frames, row.apex_index) == (50, 2, 1)
    for name, result in results.items():
        frames = open_clip(tmp_path / "made" / "train" / name).read_all()
        assert np.array_equal(frames, open_clip(result.lossless).read_all())
    params = {**model.config["dataset_params"], "root_dir": str(tmp_path / "made"), "augmentation_params": None}
    assert len(FramesDataset(params, with_keypoints=False)[(0, 0)]["source"]) == 3


def test_data_sets_go_on_and_are_not_mixed(run, data, tmp_path):
    label(data)
    run(dataset_out=str(tmp_path / "made"))
    assert not any(result.made for result in run().values())
    (tmp_path / "made" / "clips.csv").unlink()
    assert all(result.made for result in run().values())
    with pytest.raises(DataError, match=r"made holds results made with other settings \(amplify differ"):
        animate_into(run, tmp_path / "elsewhere", amplify=2)
    with pytest.raises(DataError, match="data set of casme2"):
        run(overwrite=True, dataset_out=str(data))


def animate_into(run, out: Path, **params) -> None:
    cells = dict(zip(run.__code__.co_freevars, run.__closure__, strict=True))
    model, tmp_path = cells["model"].cell_contents, cells["tmp_path"].cell_contents
    model.config["animate_params"].update(params)
    animate(model, tmp_path / "model.pth", out, CPU)


def test_lists_are_written_by_one_at_a_time(run, data, tmp_path, monkeypatch):
    """Whatever else writes to the folder of results, or to the data set from a folder of its own."""
    label(data)
    add, write, written = GeneratedSet.add, engine.results.write_manifest, []

    def adding(made: GeneratedSet, record: ClipRecord) -> None:
        with Claims(tmp_path / "made").hold("clips.csv") as free:
            written.append(free)
        add(made, record)

    def writing(out: Path, *rest: object) -> None:
        with Claims(tmp_path / "out").hold("results") as free:
            written.append(free)
        write(out, *rest)

    monkeypatch.setattr(GeneratedSet, "add", adding)
    monkeypatch.setattr(engine.results, "write_manifest", writing)
    run(dataset_out=str(tmp_path / "made"))
    assert written == [False, False, False]
    assert not list(tmp_path.glob("*/.claims"))


def test_a_data_set_needs_labels(run, tmp_path):
    with pytest.raises(DataError, match=r"whom these clips show and what: test_\d, test_\d\. prepare\.py"):
        run(dataset_out=str(tmp_path / "made"))
    assert not (tmp_path / "made").exists()


def test_still_results_are_said(run, data, capsys):
    run()
    assert "hardly moves" not in capsys.readouterr().out
    still = open_clip(data / "test" / "test_1").read_all()[[0, 0, 0]]
    write_frame_folder(data / "test" / "test_1", still)
    run(overwrite=True)
    said = capsys.readouterr().out
    assert "test_1-test_0: hardly moves (at most 0.00 pixels): the driving clip is still, or" in said
    assert "test_0-test_1: hardly" not in said


# ------------------------------------------------------------------------------------------ constant memory
class LongClip(Clip):
    """A clip that exists only while it is read; counts the frames it has given out."""

    fps = 100.0

    def __init__(self, path: Path, length: int):
        super().__init__(path)
        self.length, self.given = length, 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[np.ndarray]:
        for _ in range(self.length):
            self.given += 1
            yield np.full((32, 32, 3), self.given % 256, np.uint8)


@pytest.mark.parametrize(("overlap", "batches_ahead"), [(False, 1), (True, 3)])
def test_frames_stream_through(model, monkeypatch, overlap, batches_ahead):
    """Of 300 driving frames no more than a few are ahead of the results; the source is encoded once."""
    clips = clips_of(model)
    clips.size = (32, 32)
    driving = LongClip(Path("driving"), 300)
    opened = clips.open
    clips.open = lambda name: driving if name == "test_1" else opened(name)
    generator, detector = model.networks["generator"], model.networks["kp_detector"]
    calls = {"encode": 0, "region_map": 0}

    def counted(module: torch.nn.Module, name: str) -> None:
        method = getattr(module, name)

        def call(*args, **options):
            calls[name] += 1
            return method(*args, **options)

        monkeypatch.setattr(module, name, call)

    counted(generator, "encode")
    counted(detector, "region_map")
    ahead = []
    for index, frame in enumerate(
        ClipAnimator(model, clips, CPU, batch_size=6, overlap=overlap).take(Pair("test_1", "test_0"))
    ):
        assert frame.shape == (32, 32, 3)
        ahead.append(driving.given - 1 - index)  # one was read for the initial key points
        if index == 0:
            started = dict(calls)
    assert index == 299
    assert max(ahead) <= 6 * batches_ahead
    assert calls == started == {"encode": 1, "region_map": 2}, (
        "once for the source, once for the driving clip"
    )


def test_batches_hold_every_frame_once(model):
    clips = clips_of(model)
    parts = list(batches(LongClip(Path("x"), 11), clips, 4))
    assert [len(part) for part in parts] == [4, 4, 3]
    assert list(np.concatenate(parts)[:, 0, 0, 0]) == list(range(1, 12))


# ------------------------------------------------------------------------------------------ files
@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".png"])
def test_results_and_their_lossless_frames(run, model, tmp_path, suffix):
    results = run(format=suffix, fps=25)
    assert set(results) == {"test_0-test_1", "test_1-test_0"}
    result = results["test_1-test_0"]
    frames = frames_of(model, result.pair)
    out = tmp_path / "out"
    assert result.video == (out / "test_1-test_0" if suffix == ".png" else out / f"test_1-test_0{suffix}")
    assert result.lossless == (result.video if suffix == ".png" else out / "png" / "test_1-test_0")
    assert np.array_equal(open_clip(result.lossless).read_all(), frames)
    shown = open_clip(result.video).read_all()
    assert shown.shape == frames.shape
    assert np.abs(shown.astype(int) - frames).mean() < 12
    listed = json.loads((out / "results.json").read_text())
    assert {row["driving"] + "-" + row["source"] for row in listed} == set(results)
    assert all((out / row["video"]).exists() and (out / row["lossless"]).exists() for row in listed)


def test_rate_is_the_driving_clips_own(run, data, tmp_path):
    """200 by the clip list, 29.97 by the file (released: 100 for all, pitfall 77)."""
    frames = open_clip(data / "test" / "test_1").read_all()
    write_clip(data / "test" / "video.mp4", frames, 29.97)
    save_keypoints(data / "keypoints", "video", random_keypoints(0))
    records = [ClipRecord(f"test_{i}", "test", "casme2", "s", "", 200.0, FRAMES) for i in range(2)]
    write_clips(data / "clips.csv", records)
    results = run(num_pairs=6)
    rates = {name: open_clip(result.video).fps for name, result in results.items()}
    assert rates == {n: pytest.approx(29.97 if n.startswith("video") else 200, abs=0.01) for n in results}
    assert len(results) == 6
    assert {open_clip(r.video).fps for r in run(overwrite=True, fps=50).values()} == {50}


def test_unknown_rates_and_slow_gifs_are_said(run, capsys):
    run(format=".gif")
    said = capsys.readouterr().out
    assert "test_0: neither clips.csv nor the file says how many frames a second" in said
    assert "100 frames a second, but a GIF plays at 50: slowed down" in said


def test_strips_of_earlier_versions_go_where_their_result_is_made_anew(run, tmp_path):
    """Two clips would have one name."""
    result = run()["test_1-test_0"]
    strip = tmp_path / "out" / "png" / "test_1-test_0.png"
    write_strip(strip, open_clip(result.lossless))
    shutil.rmtree(result.lossless)
    assert finished(result.video, result.lossless) and find_lossless(result.lossless) == strip
    assert run(overwrite=True)["test_1-test_0"].made and not strip.exists()
    assert len(open_clip(result.lossless)) == FRAMES
    skimage.io.imsave(strip, np.zeros((8, 8, 3), np.uint8), check_contrast=False)  # somebody's picture
    with pytest.raises(DataError, match="was not written by this program: it is left"):
        run(overwrite=True)
    assert strip.is_file()


# ------------------------------------------------------------------------------------------ at the same time
def files(folder: Path) -> dict[str, bytes]:
    """What each file holds; not of the records, which hold dates."""
    there = (path for path in folder.rglob("*") if path.is_file() and path.parent.name != ".made_from")
    return {str(path.relative_to(folder)): path.read_bytes() for path in there}


@pytest.mark.parametrize(
    "params",
    [{"format": ".mp4"}, {"format": ".gif", "output_fps": 50}, {"format": ".png", "dataset_out": "made"}],
    ids=lambda params: params["format"],
)
def test_reading_and_writing_meanwhile_changes_nothing(run, data, tmp_path, monkeypatch, params):
    """All files are the same bytes, the list of pairs as well, and no claim or thread is left."""
    monkeypatch.chdir(tmp_path)
    label(data)
    run(overlap=False, **params)
    expected = files(tmp_path / "out"), files(tmp_path / "made")
    assert all(result.made for result in run(overlap=True, overwrite=True, **params).values())
    assert (files(tmp_path / "out"), files(tmp_path / "made")) == expected
    shutil.rmtree(tmp_path / "out")
    run(overlap=True, **params)
    assert files(tmp_path / "out") == expected[0]
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith(("read ahead", "write behind"))]


def test_a_result_is_claimed_until_it_is_whole(run, tmp_path, monkeypatch):
    """While the first clip is being finished, the second one is animated, and nobody takes the first one."""
    claims, write_result, comes = Claims(tmp_path / "out"), engine.results.write_result, threading.Event()
    begun, free = [], []

    def finish_late(frames, video, *rest):
        write_result(frames, video, *rest)
        if video.stem == begun[0]:
            assert comes.wait(30)
            with claims.hold(video.stem) as mine:
                free.append(mine)

    class ToldTake(Take):
        def __iter__(self) -> Iterator[np.ndarray]:
            begun.append(self.pair.name)
            if len(begun) == 2:
                comes.set()
            yield from super().__iter__()

    monkeypatch.setattr(engine.results, "write_result", finish_late)
    monkeypatch.setattr(clip_animator, "Take", ToldTake)
    run(overlap=True)
    assert free == [False] and len(begun) == 2
    assert not (tmp_path / "out" / ".claims").exists()


@pytest.mark.parametrize("overlap", [False, True])
def test_out_of_memory_says_which_batch_size_to_try(run, tmp_path, monkeypatch, overlap):
    """It ends the run at once: no other pair would fare better."""
    calls = []

    def full(self, motion):
        calls.append(motion)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(KeyPointAnimator, "render", full)
    with pytest.raises(torch.OutOfMemoryError, match=r"cpu with animate_params\.batch_size: 3: set it to 1$"):
        run(overlap=overlap, batch_size=3)
    with pytest.raises(torch.OutOfMemoryError, match=r"batch_size: 1: set animate_params\.precision to bf16, or"):
        run(overlap=overlap, batch_size=1)
    assert len(calls) == 2 and leftovers(tmp_path / "out") == [MARKER, "png", "settings.json"]
    monkeypatch.setattr(KeyPointAnimator, "motion", full)
    with pytest.raises(torch.OutOfMemoryError, match=r"batch_size: 3: set it to 1$"):
        run(overlap=overlap, batch_size=3, output_fps=50, overwrite=True)


def test_grid_and_largest_movement(model):
    """Of the frame given out last, and of all frames so far, whatever the batches."""
    takes = [ClipAnimator(model, clips_of(model), CPU, size).take(PAIR) for size in (1, 5)]
    assert [take.grid for take in takes] == [take.largest for take in takes] == [None, None]
    first, largest = None, 0.0
    for _ in zip(*takes, strict=True):
        grid, whole = (take.grid for take in takes)
        assert grid.shape == (16, 16, 2) and np.allclose(grid, whole, atol=1e-4)
        first = grid if first is None else first
        largest = max(largest, np.linalg.norm((grid - first) * 63 / 2, axis=-1).max())
        assert takes[0].largest == pytest.approx(largest, abs=1e-3)
    assert takes[1].largest == pytest.approx(largest, abs=1e-3) and largest > 0.1


# ------------------------------------------------------------------------------------------ going on
def test_finished_results_are_skipped(run, capsys):
    first = run()
    assert all(result.made for result in first.values())
    before = {name: result.video.stat().st_mtime_ns for name, result in first.items()}
    assert not any(result.made for result in run().values())
    assert "0 made, 2 were there already" in capsys.readouterr().out
    assert {name: result.video.stat().st_mtime_ns for name, result in first.items()} == before
    assert all(result.made for result in run(overwrite=True).values())


def made(results: dict) -> set[str]:
    return {name for name, result in results.items() if result.made}


def test_results_are_of_the_clips_and_key_points_there_are_now(run, data, tmp_path, capsys):
    """Content decides, not dates: what was touched or copied is the same, what was replaced is not."""
    names = made(run())
    frame = data / "test" / "test_0" / "0000003.png"
    os.utime(frame, (0, 0))
    os.replace(shutil.copy(frame, tmp_path / "copy.png"), frame)
    assert not made(run())
    write_frame_folder(data / "test" / "test_0", moving_frames(7))
    assert made(run()) == names and not made(run())
    save_keypoints(data / "keypoints", "test_1", random_keypoints(9))
    assert made(run()) == names and not made(run())
    capsys.readouterr()
    next((tmp_path / "out" / ".made_from").iterdir()).write_text("{")
    assert len(made(run())) == 1
    shutil.rmtree(tmp_path / "out" / ".made_from")  # an earlier version's folder
    assert made(run()) == names
    assert "2 results in" in (said := capsys.readouterr().out) and "do not say what they were made from" in said


def test_a_result_that_was_changed_since_is_named_and_left(run, tmp_path):
    """By its content: one in another's place, and a picture of the user's under its name."""
    found = run()
    (first, second), results = found, list(found.values())
    file, other = results[0].video, results[1].video
    os.replace(shutil.copy(file, tmp_path / "copy"), file)  # the same again
    assert not made(run())
    shutil.copy(other, file)
    before = file.read_bytes()
    with pytest.raises(DataError, match=f"1 of 2 pairs failed: .*{file.name} was changed after this program wrote it"):
        run()
    assert file.read_bytes() == before
    assert made(run(overwrite=True)) == {first, second}  # this program's all the same
    assert file.read_bytes() != before
    file.write_bytes(b"a picture of the user's")
    for overwrite in (False, True):
        with pytest.raises(DataError, match=rf"1 of 2 pairs failed: .*{file.name} (was changed|.*not written)"):
            run(overwrite=overwrite)
        assert file.read_bytes() == b"a picture of the user's"
    file.unlink()
    assert made(run()) == {first}


def test_lossless_frames_that_were_changed_since_are_named_and_left(run, tmp_path):
    found = run()
    (first, second), results = found, list(found.values())
    frame, other = (result.lossless / "0000002.png" for result in results)
    shutil.copy(other, frame)
    with pytest.raises(DataError, match=f"1 of 2 pairs failed: .*png/{first} was changed after this program wrote it"):
        run()
    assert frame.read_bytes() == other.read_bytes()
    assert made(run(overwrite=True)) == {first, second}
    assert frame.read_bytes() != other.read_bytes()


def test_clips_of_a_labelled_set_that_were_changed_since_are_named_and_left(run, data, tmp_path):
    label(data)
    first, second = sorted(run(dataset_out=str(tmp_path / "made")))
    frame = tmp_path / "made" / "train" / first / "0000001.png"
    shutil.copy(tmp_path / "made" / "train" / second / "0000002.png", frame)
    with pytest.raises(DataError, match=f"1 of 2 pairs failed: .*train/{first} was changed after"):
        run(dataset_out=str(tmp_path / "made"))
    shutil.rmtree(frame.parent)
    assert made(run(dataset_out=str(tmp_path / "made"))) == {first}


def test_clips_of_a_labelled_set_are_of_the_clips_there_are_now(run, data, tmp_path):
    """Also where the result itself was made again without it."""
    label(data)
    run(dataset_out=str(tmp_path / "made"))
    write_frame_folder(data / "test" / "test_0", moving_frames(7))
    assert made(run(dataset_out=None))
    assert made(run(dataset_out=str(tmp_path / "made"))) and not made(run(dataset_out=str(tmp_path / "made")))


@pytest.mark.parametrize("overlap", [False, True])
def test_results_are_made_anew_by_one_process_at_a_time(run, tmp_path, monkeypatch, overlap):
    """Each is claimed while it is written, so that a run beside this one does not write it too."""
    names, free = set(run()), []

    def write(frames, video, *rest):
        with Claims(tmp_path / "out").hold(video.stem) as mine:
            free.append((video.stem, mine))
        list(frames)

    monkeypatch.setattr(engine.results, "write_result", write)
    run(overwrite=True, overlap=overlap)
    assert sorted(free) == [(name, False) for name in sorted(names)]
    with Claims(tmp_path / "out").hold(min(names)) as mine:
        assert mine, "given back"


def test_frames_that_are_not_finite_are_no_result(run, monkeypatch, tmp_path):
    render = KeyPointAnimator.render

    def broken(self, motion):
        out = render(self, motion)
        return out | {"prediction": out["prediction"] * torch.nan}

    monkeypatch.setattr(KeyPointAnimator, "render", broken)
    with pytest.raises(DataError, match="2 of 2 pairs failed: .*come out as NaN or infinite"):
        run()
    assert not list((tmp_path / "out").glob("*.mp4"))


@pytest.mark.parametrize("lost", ["video", "lossless"])
def test_half_a_result_is_made_again(run, lost):
    part = getattr(run()["test_1-test_0"], lost)
    shutil.rmtree(part) if part.is_dir() else part.unlink()
    again = run()
    assert again["test_1-test_0"].made and not again["test_0-test_1"].made
    assert finished(again["test_1-test_0"].video, again["test_1-test_0"].lossless)


@pytest.mark.parametrize("overlap", [False, True])
def test_interruption_leaves_no_half_result(run, tmp_path, monkeypatch, overlap):
    frames = Take.__iter__

    def interrupted(self):
        for index, frame in enumerate(frames(self)):
            if index == 3 and self.pair.driving == "test_1":
                raise KeyboardInterrupt
            yield frame

    monkeypatch.setattr(Take, "__iter__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(overlap=overlap)
    assert not [name for name in leftovers(tmp_path / "out") if name.startswith("test_1-")]
    assert not [name for name in leftovers(tmp_path / "out" / "png") if name.startswith(("test_1-", "."))]
    monkeypatch.undo()
    assert run()["test_1-test_0"].made


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"format": ".gif"}, "format"),
        ({"fps": 50}, "fps"),
        ({"normalization_params": None}, "normalization_params"),
        ({"amplify": 2}, "amplify"),
        ({"regions": ["mouth"]}, "regions"),
        ({"output_fps": 25}, "output_fps"),
        ({"colour": "source"}, "colour"),
        ({"reference": 2}, "reference"),
    ],
)
def test_results_of_other_settings_are_not_mixed(run, change, key):
    run()
    with pytest.raises(DataError, match=rf"other settings \({key} differ.*--overwrite.*--out"):
        run(**change)
    assert all(result.made for result in run(overwrite=True, **change).values())
    assert not any(result.made for result in run(**change).values())


def test_results_of_another_checkpoint_are_not_mixed(run, tmp_path):
    run()
    write_checkpoint(tmp_path / "model.pth", {"generator": {"a": torch.zeros(1)}})
    with pytest.raises(DataError, match=r"other settings \(checkpoint differ"):
        run()


# ------------------------------------------------------------------------------------------ pairs, bad data
def test_listed_pairs_and_their_limit(run, model, tmp_path, capsys):
    listed = tmp_path / "pairs.csv"
    listed.write_text(
        "distance,source,driving,frame\n0,test_0,test_1,2\n0,test_1,test_1,0\n0,test_0,test_0,0\n"
    )
    model.config["dataset_params"]["pairs_list"] = str(listed)
    results = run(num_pairs=2)
    assert [result.pair for result in results.values()] == [
        Pair("test_1", "test_0", 2),
        Pair("test_1", "test_1"),
    ]
    assert "lists 3 pairs; animate_params.num_pairs: 2 takes the first 2" in capsys.readouterr().out


def test_pairs_whose_results_would_have_one_name(run, model, tmp_path):
    """The second would not be made, and count as made."""
    listed = tmp_path / "pairs.csv"
    model.config["dataset_params"]["pairs_list"] = str(listed)
    row = "test_1,test_0,{}\n"
    listed.write_text("driving,source,frame\n" + row.format(0) + row.format(2))
    with pytest.raises(DataError, match=r"both be called 'test_1-test_0': .*frame 0\) and .*frame 2\)"):
        run()
    listed.write_text("driving,source,frame\n" + 2 * row.format(0))
    assert len(run()) == 1


def test_lists_of_results_keep_those_of_earlier_runs(run, model, tmp_path):
    """Two runs into one folder, with a pairs list each; a result that is deleted leaves the list."""
    listed, out = tmp_path / "pairs.csv", tmp_path / "out"
    model.config["dataset_params"]["pairs_list"] = str(listed)

    def rows() -> list[tuple[str, str, str]]:
        with (out / "results.csv").open(newline="", encoding="utf-8") as file:
            found = [(row["driving"], row["source"], row["reference"]) for row in csv.DictReader(file)]
        listing = json.loads((out / "results.json").read_text(encoding="utf-8"))
        assert [(row["driving"], row["source"], str(row["reference"])) for row in listing] == found
        return found

    for row in ("test_1,test_0,2", "test_0,test_1,0"):
        listed.write_text(f"driving,source,frame\n{row}\n")
        run()
    assert rows() == [("test_0", "test_1", "0"), ("test_1", "test_0", "2")]
    (out / "test_1-test_0.mp4").unlink()
    run()
    assert rows() == [("test_0", "test_1", "0")]


def test_a_result_that_could_not_be_made_again_keeps_its_row(run, tmp_path, monkeypatch):
    """The list says with which settings a result was made, also where ``--overwrite`` failed."""
    run()
    take = ClipAnimator.take

    def fails(self, pair):
        if pair.driving == "test_1":
            raise DataError("unreadable")
        return take(self, pair)

    monkeypatch.setattr(ClipAnimator, "take", fails)
    with pytest.raises(DataError, match="1 of 2 pairs failed"):
        run(overwrite=True, amplify=2)
    with (tmp_path / "out" / "results.csv").open(newline="", encoding="utf-8") as file:
        assert {row["driving"]: float(row["amplify"]) for row in csv.DictReader(file)} == {"test_0": 2, "test_1": 1}


@pytest.mark.parametrize("overlap", [False, True])
def test_one_bad_clip_does_not_cost_the_others(run, model, data, tmp_path, overlap):
    (data / "test" / "test_1" / "0000002.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"1 of 2 pairs failed:\s+test_1-test_0: cannot read .*0000002\.png"):
        run(overlap=overlap, batch_size=2)
    out = tmp_path / "out"
    assert (out / "test_0-test_1.mp4").exists()
    assert not (out / "test_1-test_0.mp4").exists()
    assert [row["driving"] for row in json.loads((out / "results.json").read_text())] == ["test_0"]


def test_reference_outside_the_clip(model):
    with pytest.raises(DataError, match=r"frame 9 is outside test_1 \(5 frames\)"):
        frames_of(model, Pair("test_1", "test_0", 9))


def test_sizes_that_do_not_fit(model, data):
    model.config["dataset_params"]["frame_shape"] = None
    write_frame_folder(data / "test" / "test_1", moving_frames(0, 3, 32))
    with pytest.raises(DataError, match=r"test_0 and test_1 differ in size \(64×64 and 32×32 pixels\)"):
        frames_of(model, Pair("test_1", "test_0"))


def test_truncated_driving_video_gives_what_it_holds(run, model, data):
    frames = np.concatenate([moving_frames(5, 16)] * 4)
    write_truncated_mp4(data / "test" / "video.mp4", frames, 25, share=0.6)
    save_keypoints(data / "keypoints", "video", random_keypoints(0))
    with pytest.warns(UserWarning, match=r"video\.mp4: truncated"):
        results = run(num_pairs=6)
    kept = len(open_clip(results["video-test_0"].lossless))
    assert 10 < kept < 64
    assert len(open_clip(results["video-test_0"].video)) == kept


def test_missing_key_points_are_found_before_anything_is_made(run, data, tmp_path):
    (data / "keypoints" / "test_1.pt").unlink()
    with pytest.raises(KeypointError, match=r"'test_1'.*kpmaker\.py"):
        run()
    assert not (tmp_path / "out").exists()


def test_one_clip_makes_no_random_pair(tmp_path, model):
    root = make_data(tmp_path / "lonely", train=1, test=1)
    model.config["dataset_params"].update(root_dir=str(root), keypoint_folder=str(root / "keypoints"))
    with pytest.raises(DataError, match="at least two clips"):
        animate(model, tmp_path / "model.pth", tmp_path / "out", CPU)


def test_strips_are_driving_clips_too(model, data):
    before = frames_of(model, Pair("test_1", "test_0"))
    frames = open_clip(data / "test" / "test_1").read_all()
    write_strip(data / "test" / "strip.png", frames)
    points = clips_of(model).keypoints("test_1", (64, 64))
    save_keypoints(data / "keypoints", "strip", points)
    assert np.array_equal(frames_of(model, Pair("strip", "test_0")), before)


def test_result_paths():
    assert result_paths(Path("o"), "a-b", ".mp4") == (Path("o/a-b.mp4"), Path("o/png/a-b"))
    assert result_paths(Path("o"), "a-b", ".png") == (Path("o/a-b"), Path("o/a-b"))
