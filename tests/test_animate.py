"""Animation: what moves whom, from which frame on, at which rate; streamed, resumable, never mixed up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import animate as engine
from animate import ClipAnimator, animate, batches, finished, result_paths
from checkpoint import LoadedModel, write_checkpoint
from corpora import ClipRecord, write_clips
from faces.keypoint_files import KeypointError, save_keypoints
from frames_dataset import ClipFolder, DataError, Pair
from media import Clip, open_clip, write_frame_folder, write_mp4, write_strip
from modules import FAMILIES, build_networks, get_family
from tests.conftest import golden_state, make_data, moving_frames, random_keypoints, training_config
from tests.pictures import leftovers, write_truncated_mp4

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
    """``run(overwrite=…, animate_params…)`` animates into ``tmp_path/out``; returns results by pair name."""
    write_checkpoint(tmp_path / "model.pth", {"generator": model.networks["generator"].state_dict()})

    def animated(overwrite: bool = False, **params) -> dict[str, engine.Result]:
        model.config["animate_params"].update(params)
        results = animate(model, tmp_path / "model.pth", tmp_path / "out", CPU, overwrite)
        return {result.pair.name: result for result in results}

    return animated


def clips_of(model: LoadedModel) -> ClipFolder:
    return ClipFolder(model.config["dataset_params"], "test", get_family(model.config).uses_prior)


def frames_of(
    model: LoadedModel, pair: Pair, batch_size: int = 8, reconstruction: bool = False
) -> np.ndarray:
    animator = ClipAnimator(model, clips_of(model), CPU, batch_size, reconstruction)
    return np.stack(list(animator.frames(pair)))


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
    old = {key: value for key, value in json.loads(settings.read_text()).items() if key not in engine.CONTROLS}
    settings.write_text(json.dumps(old))
    assert set(run()) == set(first)
    with pytest.raises(DataError, match=r"other settings \(amplify differ"):
        run(amplify=2)


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


def test_frames_stream_through(model, monkeypatch):
    """Of 300 driving frames no more than a batch is ahead of the results; the source is encoded once."""
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
        ClipAnimator(model, clips, CPU, batch_size=6).frames(Pair("test_1", "test_0"))
    ):
        assert frame.shape == (32, 32, 3)
        ahead.append(driving.given - 1 - index)  # one was read for the initial key points
        if index == 0:
            started = dict(calls)
    assert index == 299
    assert max(ahead) <= 6
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
    assert result.lossless == (result.video if suffix == ".png" else out / "png" / "test_1-test_0.png")
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
    write_mp4(data / "test" / "video.mp4", frames, 29.97)
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


def test_long_results_become_a_folder(run, monkeypatch, tmp_path):
    import media

    monkeypatch.setattr(media, "MAX_STRIP_WIDTH", 64 * 4)
    result = run()["test_1-test_0"]
    assert leftovers(tmp_path / "out" / "png") == ["test_0-test_1", "test_1-test_0"]
    assert len(open_clip(tmp_path / "out" / "png" / "test_1-test_0")) == FRAMES
    assert finished(result.video, result.lossless)
    assert not any(result.made for result in run().values())


# ------------------------------------------------------------------------------------------ going on
def test_finished_results_are_skipped(run, capsys):
    first = run()
    assert all(result.made for result in first.values())
    before = {name: result.video.stat().st_mtime_ns for name, result in first.items()}
    assert not any(result.made for result in run().values())
    assert "0 made, 2 were there already" in capsys.readouterr().out
    assert {name: result.video.stat().st_mtime_ns for name, result in first.items()} == before
    assert all(result.made for result in run(overwrite=True).values())


@pytest.mark.parametrize("lost", ["video", "lossless"])
def test_half_a_result_is_made_again(run, lost):
    getattr(run()["test_1-test_0"], lost).unlink()
    again = run()
    assert again["test_1-test_0"].made and not again["test_0-test_1"].made
    assert finished(again["test_1-test_0"].video, again["test_1-test_0"].lossless)


def test_interruption_leaves_no_half_result(run, tmp_path, monkeypatch):
    frames = ClipAnimator.frames

    def interrupted(self, pair):
        for index, frame in enumerate(frames(self, pair)):
            if index == 3 and pair.driving == "test_1":
                raise KeyboardInterrupt
            yield frame

    monkeypatch.setattr(ClipAnimator, "frames", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()
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


def test_one_bad_clip_does_not_cost_the_others(run, model, data, tmp_path):
    (data / "test" / "test_1" / "0000002.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"1 of 2 pairs failed:\s+test_1-test_0: cannot read .*0000002\.png"):
        run()
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
    with pytest.warns(UserWarning, match=r"video\.mp4 is truncated"):
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
    assert result_paths(Path("o"), "a-b", ".mp4") == (Path("o/a-b.mp4"), Path("o/png/a-b.png"))
    assert result_paths(Path("o"), "a-b", ".png") == (Path("o/a-b"), Path("o/a-b"))
