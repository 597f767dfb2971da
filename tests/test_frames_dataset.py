"""The data set: samples that depend on their address alone, pairs, rates, and data that cannot be used."""

from __future__ import annotations

import os
import time
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import frames_dataset
from animation.pairs import Pair, random_pairs, read_pairs
from corpora import ClipRecord, write_clips
from faces.keypoint_files import KeypointError, save_keypoints, update_manifest
from faces.onset import Onset
from faces.records import make_entry
from faces.tracking import load_track, save_track
from frames_dataset import (
    ClipFolder,
    DataError,
    EpochSampler,
    FramesDataset,
    SharedBuffers,
    clip_rate,
    collate,
    known_rate,
    make_loader,
    split_folders,
    to_frames,
    to_tensor,
)
from media import MediaError, open_clip, write_clip, write_frame_folder
from media.fingerprint import Fingerprint
from tests.conftest import make_data, random_keypoints, random_track
from tests.pictures import noise, smooth, write_strip


def params(root: Path, **changes) -> dict:
    """``dataset_params`` of a folder made by ``make_data``."""
    return {"root_dir": str(root), "keypoint_folder": str(root / "keypoints"), "frame_shape": None, **changes}


def numbered(count: int, size: int = 16) -> np.ndarray:
    """Frames whose brightness is their number times ten."""
    return np.stack([np.full((size, size, 3), 10 * index, np.uint8) for index in range(count)])


def number(image: torch.Tensor) -> int:
    return round(float(image.mean()) * 255 / 10)


def same(one: dict, other: dict) -> bool:
    tensors = [name for name, value in one.items() if isinstance(value, torch.Tensor)]
    return one["name"] == other["name"] and all(torch.equal(one[name], other[name]) for name in tensors)


# ------------------------------------------------------------------------------------------ tensors
def test_tensors_and_frames_are_inverse():
    frames = noise(3, 8, 12)
    tensor = to_tensor(frames)
    assert (tensor.shape, tensor.dtype) == ((3, 3, 8, 12), torch.float32)
    assert float(tensor.max()) <= 1
    assert np.array_equal(to_frames(tensor), frames)
    assert to_frames(torch.full((1, 3, 2, 2), 1.7)).max() == 255
    assert to_frames(torch.full((1, 3, 2, 2), -0.5)).max() == 0


# ------------------------------------------------------------------------------------------ samples
FULL = {
    "flip_param": {"horizontal_flip": True, "time_flip": True},
    "rotation_param": {"degrees": 5},
    "jitter_param": {"hue": 0.1, "brightness": 0.1},
}


def test_samples_depend_on_seed_epoch_and_index_alone(data):
    make = lambda seed: FramesDataset(params(data, augmentation_params=FULL), True, num_repeats=4, seed=seed)  # noqa: E731
    one, other = make(3), make(3)
    backwards = {address: other[address] for address in [(1, 5), (0, 2), (0, 0)]}
    torch.manual_seed(99)
    np.random.seed(99)
    for address in [(0, 0), (0, 2), (1, 5)]:
        assert same(one[address], backwards[address])
    assert not same(one[0, 0], one[1, 0]), "another epoch"
    assert not same(one[0, 0], one[0, 3]), "another visit of the same clip"
    assert not same(one[0, 0], make(4)[0, 0]), "another seed"


def test_samples_are_the_same_from_the_cache_and_in_workers(data, tmp_path):
    """Clips decoded once or every time, by one process or by several that fill the cache together."""
    cache = {"folder": str(tmp_path / "cache")}
    plain, cached = (
        FramesDataset(params(data, frame_shape=[32, 48, 3], augmentation_params=FULL, **more), True, num_repeats=4)
        for more in ({}, {"frame_cache": cache})
    )
    expected = list(make_loader(plain, EpochSampler(len(plain)), 2))
    for workers in (2, 0):
        for batch, other in zip(make_loader(cached, EpochSampler(len(plain)), 2, workers), expected, strict=True):
            assert_same(batch, other)
            assert batch["source"].is_contiguous(memory_format=torch.channels_last)
    assert len(list((tmp_path / "cache").glob("*.npy"))) == len(plain.clips.names)


def assert_same(batch: dict, other: dict) -> None:
    assert batch["name"] == other["name"]
    assert all(torch.equal(batch[name], other[name]) for name in ("source", "driving", "keypoint"))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_workers_batch_holds_until_the_next_is_taken(data, workers):
    """Its memory is used again: by epochs that follow one another, and after one that was left early."""
    dataset = FramesDataset(params(data), True, num_repeats=12)
    sampler = EpochSampler(len(dataset))
    loader = make_loader(dataset, sampler, 2, workers)
    for sampler.epoch in range(3):
        expected = list(make_loader(dataset, sampler, 2))
        taken = zip(expected, loader, strict=True)
        for number, (other, batch) in enumerate(taken):
            time.sleep(0.01)  # let the worker get as far ahead as it may
            assert_same(batch, other)
            if sampler.epoch == 1 and number == 3:
                break


def test_buffers_are_used_again_and_fit(data):
    """As many as a loader's worker may fill before the first has been copied; frames of another size get others."""
    dataset, buffers = FramesDataset(params(data), True), SharedBuffers(prefetch_factor=2)
    batches = [collate([dataset[0, index]] * 2, buffers) for index in (0, 1, 0, 1, 0)]
    places = [batch["source"].data_ptr() for batch in batches]
    assert len(set(places)) == 3
    assert places[3:] == places[:2]
    assert all(batch["source"].is_shared() for batch in batches)
    smaller = collate([dataset[0, 0]], buffers)
    assert_same(smaller, collate([dataset[0, 0]]))
    assert_same(batches[4], collate([dataset[0, 0]] * 2))
    assert_same(batches[3], collate([dataset[0, 1]] * 2))


def test_too_little_shared_memory_is_named(data, monkeypatch):
    def full(tensor):
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    dataset = FramesDataset(params(data), True)
    with pytest.raises(DataError, match=r"needs 0 MB of shared memory.*No space left.*--shm-size.*0 workers"):
        collate([dataset[0, 0]], SharedBuffers(prefetch_factor=2))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux's /proc")
def test_going_to_a_spawned_process_takes_no_file_descriptors(data):
    """Of which there are 1024, and a data set may have more clips."""
    dataset, before = FramesDataset(params(data), True), len(list(Path("/proc/self/fd").iterdir()))
    pickled = ForkingPickler.dumps(dataset)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert same(ForkingPickler.loads(pickled)[0, 1], dataset[0, 1])


def test_sample_contents(data):
    dataset = FramesDataset(params(data, frame_shape=[32, 48, 3]), True)
    sample = dataset[0, 1]
    assert sample["name"] == "train_1"
    assert sample["source"].shape == sample["driving"].shape == (3, 32, 48)
    stored = random_keypoints(1)
    assert torch.allclose(sample["keypoint"], stored * torch.tensor([48 / 64, 32 / 64]))
    assert not sample["keypoint"].requires_grad
    assert "keypoint" not in FramesDataset(params(data), False)[0, 1]


def test_the_two_frames_differ_and_cover_the_clip(tmp_path):
    write_frame_folder(tmp_path / "train" / "a", numbered(12))
    dataset = FramesDataset(params(tmp_path), False, num_repeats=300)
    pairs = [
        (number(s["source"]), number(s["driving"])) for s in (dataset[0, i] for i in range(len(dataset)))
    ]
    assert all(source < driving for source, driving in pairs), "in time's order, and never the same frame"
    assert {frame for pair in pairs for frame in pair} == set(range(12))
    assert len(set(pairs)) > 50


def test_each_frame_comes_with_its_own_row_of_the_track(tmp_path):
    write_frame_folder(tmp_path / "train" / "clip", numbered(6))
    save_keypoints(tmp_path / "keypoints", "clip", random_keypoints(0, 16))
    save_track(tmp_path / "keypoints", "clip", random_track(random_keypoints(0, 16), 16, frames=6))
    data = FramesDataset(params(tmp_path, frame_shape=[32, 16, 3]), True, num_repeats=8, with_tracks=True)
    track = load_track(tmp_path / "keypoints", "clip").to("cpu").resized((32, 16))
    for index in range(8):
        sample = data[0, index]
        for name in ("source", "driving"):
            frame = number(sample[name])
            assert torch.allclose(sample[f"keypoint_{name}"], track.points[frame], atol=1e-4)
            assert torch.allclose(sample[f"field_{name}"], track.displacement()[frame], atol=1e-4)
    write_frame_folder(tmp_path / "train" / "clip", numbered(9))
    grown = FramesDataset(params(tmp_path), True, num_repeats=20, with_tracks=True)
    with pytest.raises(KeypointError, match=r"the track of 'clip' has 6 frames, but frame [678] is wanted"):
        [grown[0, index] for index in range(20)]


def test_frames_are_in_natural_order(tmp_path):
    """img10 comes after img9 (released: after img1, pitfall 26), whatever the listing says."""
    folder = tmp_path / "test" / "a"
    folder.mkdir(parents=True)
    for index in reversed(range(12)):
        Image.fromarray(numbered(12)[index]).save(folder / f"img{index}.png")
    clip = ClipFolder(params(tmp_path), "test", False).open("a")
    assert [int(frame[0, 0, 0]) // 10 for frame in clip] == list(range(12))


def test_clip_of_one_frame(tmp_path):
    write_frame_folder(tmp_path / "train" / "a", numbered(2)[1:])
    sample = FramesDataset(params(tmp_path), False)[0, 0]
    assert torch.equal(sample["source"], sample["driving"])


def test_every_kind_of_clip_gives_samples(tmp_path):
    frames = smooth(6, 32, 32)
    train = tmp_path / "train"
    write_frame_folder(train / "a", frames)
    write_strip(train / "b.png", frames)
    write_clip(train / "c.gif", frames, 25)
    write_clip(train / "d.mp4", frames, 25)
    for name in "abcd":
        save_keypoints(tmp_path / "keypoints", name, random_keypoints(0, 32))
    dataset = FramesDataset(params(tmp_path, frame_shape=[32, 32, 3]), True)
    assert dataset.clips.names == ["a", "b", "c", "d"]
    for index in range(4):
        sample = dataset[0, index]
        assert sample["source"].shape == (3, 32, 32)
        assert not torch.equal(sample["source"], sample["driving"])


def test_identities_take_turns(tmp_path):
    for name in ("anna#1", "anna#2", "anna#3", "bob#1", "annabel"):
        write_frame_folder(tmp_path / "train" / name, numbered(3))
    dataset = FramesDataset(params(tmp_path, id_sampling=True), False, num_repeats=40)
    assert len(dataset) == 3 * 40
    seen: dict[int, set[str]] = {}
    for index in range(len(dataset)):
        seen.setdefault(index % 3, set()).add(dataset[0, index]["name"])
    assert sorted(map(sorted, seen.values())) == [["anna#1", "anna#2", "anna#3"], ["annabel"], ["bob#1"]]


def test_several_roots_make_one_data_set(tmp_path):
    for root, name in (("one", "a"), ("two", "b")):
        write_frame_folder(tmp_path / root / "train" / name, numbered(2))
    roots = [str(tmp_path / "one"), str(tmp_path / "two")]
    dataset = FramesDataset(params(tmp_path, root_dir=roots), False)
    assert dataset.clips.names == ["a", "b"]
    write_frame_folder(tmp_path / "two" / "train" / "a", numbered(2))
    with pytest.raises(DataError, match=r"two clips are called 'a'.*Rename"):
        FramesDataset(params(tmp_path, root_dir=roots), False)


def test_batches_of_different_sizes_are_named(tmp_path):
    write_frame_folder(tmp_path / "train" / "a", noise(2, 32, 32))
    write_frame_folder(tmp_path / "train" / "b", noise(2, 16, 48))
    dataset = FramesDataset(params(tmp_path), False)
    with pytest.raises(DataError, match=r"32×32 of a, 48×16 of b.*frame_shape"):
        collate([dataset[0, 0], dataset[0, 1]])
    assert collate([dataset[0, 0]] * 3)["source"].shape == (3, 3, 32, 32)


# ------------------------------------------------------------------------------------------ order of an epoch
def test_epochs_are_permutations_that_depend_on_seed_and_epoch():
    sampler = EpochSampler(50, seed=1)
    orders = []
    for epoch in (0, 1, 0):
        sampler.epoch = epoch
        addresses = list(sampler)
        assert {address[0] for address in addresses} == {epoch}
        orders.append([address[1] for address in addresses])
    assert sorted(orders[0]) == list(range(50))
    assert orders[0] == orders[2] != orders[1]
    assert [index for _, index in EpochSampler(50, seed=2)] != orders[0]


def test_sampler_goes_on_in_the_middle():
    whole = list(EpochSampler(20, seed=1))
    rest = EpochSampler(20, seed=1)
    rest.start = 12
    assert len(rest) == 8
    assert list(rest) == whole[12:]


# ------------------------------------------------------------------------------------------ unusable data
def test_missing_folders(tmp_path):
    with pytest.raises(DataError, match=r"no such folder.*prepare\.py sample"):
        split_folders({"root_dir": str(tmp_path / "nowhere")}, "train")
    with pytest.raises(DataError, match=r"has no folder 'train'.*one folder of frames"):
        split_folders({"root_dir": str(tmp_path)}, "train")
    (tmp_path / "train").mkdir()
    with pytest.raises(MediaError, match="no clips in"):
        FramesDataset(params(tmp_path), False)


def test_keypoint_files_are_found_by_exact_name(tmp_path):
    """006_1_2 is neither 006_1_20 nor Positive_006_1_2 (released: any of them, pitfall 18)."""
    names = ("006_1_2", "006_1_20", "Positive_006_1_2")
    for seed, name in enumerate(names):
        write_frame_folder(tmp_path / "test" / name, numbered(2, 64))
        save_keypoints(tmp_path / "keypoints", name, random_keypoints(seed))
    clips = ClipFolder(params(tmp_path), "test", True)
    for seed, name in enumerate(names):
        assert torch.equal(clips.keypoints(name, (64, 64)), random_keypoints(seed))
    (tmp_path / "keypoints" / "006_1_2.pt").unlink()
    with pytest.raises(KeypointError, match=r"'006_1_2'.*kpmaker\.py"):
        clips.check_keypoints()
    clips.check_keypoints(names[1:])


def test_training_refuses_doubtful_faces(tmp_path):
    """Until a person has accepted them; other clips of the manifest do not matter."""
    entry = {"status": "doubtful", "score": 0.123, "box": [270, 332, 333, 396]}
    for name in ("a", "b"):
        write_frame_folder(tmp_path / "train" / name, numbered(2, 64))
        save_keypoints(tmp_path / "keypoints", name, random_keypoints(0))
    update_manifest(tmp_path / "keypoints", {"b": entry, "elsewhere": entry})
    with pytest.raises(KeypointError, match=r"1 of 2 training.*b \(score 0.12, x 270 to 333, y 332.*--accept"):
        FramesDataset(params(tmp_path), True)
    update_manifest(tmp_path / "keypoints", {"b": {**entry, "status": "found"}})
    assert len(FramesDataset(params(tmp_path), True)) == 2


def test_missing_and_broken_frames(tmp_path):
    write_frame_folder(tmp_path / "train" / "a", numbered(2))
    (tmp_path / "train" / "a" / "0000001.png").write_bytes(b"broken")
    with pytest.raises(MediaError, match=r"cannot read .*0000001\.png"):
        FramesDataset(params(tmp_path), False)[0, 0]
    (tmp_path / "train" / "b").mkdir()
    dataset = FramesDataset(params(tmp_path), False)
    with pytest.raises(MediaError, match=r"no frames in .*b\b"):
        dataset[0, 1]


# ------------------------------------------------------------------------------------------ rates
def record(clip: str, fps: float) -> ClipRecord:
    return ClipRecord(clip=clip, split="test", corpus="sample", subject="s", source="", fps=fps, frames=4)


def test_rates_come_from_the_list_then_the_file(tmp_path):
    test = tmp_path / "test"
    write_frame_folder(test / "listed", numbered(4))
    write_frame_folder(test / "unlisted", numbered(4))
    write_clip(test / "both.mp4", smooth(4, 32, 32), 25)
    write_clip(test / "file.mp4", smooth(4, 32, 32), 29.97)
    write_clips(tmp_path / "clips.csv", [record("listed", 200), record("both", 120)])
    clips = ClipFolder(params(tmp_path), "test", False)
    rates = {name: clip_rate(clips.open(name)) for name in clips.names}
    assert rates == {"listed": 200, "unlisted": frames_dataset.FALLBACK_FPS, "both": 120, "file": 29.97}
    known = {name: bool(known_rate(clips.open(name))) for name in clips.names}
    assert known == {"listed": True, "unlisted": False, "both": True, "file": True}
    assert clip_rate(clips.open("both"), override=50) == 50


# ------------------------------------------------------------------------------------------ pairs
NAMES = ["a", "b", "c.v2"]


def read(tmp_path: Path, text: str) -> list[Pair]:
    (tmp_path / "pairs.csv").write_text(text, encoding="utf-8")
    return read_pairs(tmp_path / "pairs.csv", NAMES)


def test_pairs(tmp_path):
    text = "distance,source,driving,frame\n0.5,a,b,3\n0.1,b.mp4, c.v2 ,\n,a.png,a,0\n"
    expected = [Pair("b", "a", 3), Pair("c.v2", "b", 0), Pair("a", "a", 0)]
    assert read(tmp_path, text) == expected
    assert [pair.name for pair in expected] == ["b-a", "c.v2-b", "a-a"], "<driving>-<source>"
    assert read(tmp_path, "\ufeffdriving,source\nb,a\n") == [Pair("b", "a", 0)], "Excel's UTF-8"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"0 rows and the columns \(none\); needed are source and driving"),
        ("source,driving\n", "at least one row"),
        ("a,b\n", "the columns a, b; needed"),
        (
            "source,driving\nnobody,b\na,somebody\nnobody,a\n",
            r"nobody, somebody\. In the data: a, b, c\.v2\.",
        ),
        ("source,driving\na\n", "not in the data"),
        ("source,driving,frame\na,b,first\n", "frame 'first' of b-a should be a whole number"),
        ("source,driving,frame\na,b,-1\n", "frame '-1'"),
        ("source,driving,frame\na,b,1.5\n", "frame '1.5'"),
    ],
)
def test_illegal_pairs(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


def test_pairs_file_that_is_none(tmp_path):
    with pytest.raises(DataError, match=r"pairs_list: no such file.*null for random pairs"):
        read_pairs(tmp_path / "nowhere.csv", NAMES)
    (tmp_path / "pairs.csv").write_bytes("source,driving\né,b\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"pairs\.csv is no CSV file in UTF-8"):
        read_pairs(tmp_path / "pairs.csv", NAMES)


def test_random_pairs():
    names = [f"clip{i}" for i in range(7)]
    pairs = random_pairs(names, 20)
    assert len(set(pairs)) == 20
    assert all(pair.driving != pair.source and {pair.driving, pair.source} <= set(names) for pair in pairs)
    assert pairs == random_pairs(names, 20) != random_pairs(names, 20, seed=1)
    assert len(set(random_pairs(names, 1000))) == 7 * 6
    assert {pair.source for pair in random_pairs(names, 42)} == set(names)
    with pytest.raises(DataError, match="at least two clips"):
        random_pairs(["a"], 1)


def test_order_of_the_file_system_changes_nothing(tmp_path, monkeypatch):
    """Clip order, and with it every seeded choice, is the same on every machine (pitfall 25)."""
    root = make_data(tmp_path, train=11, frames=2, size=16)
    expected = FramesDataset(params(root), False).clips.names
    assert expected == [f"train_{i}" for i in range(11)]
    listing = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(sorted(listing(self), reverse=True)))
    assert FramesDataset(params(root), False).clips.names == expected


def test_what_is_derived_from_a_clip_is_derived_from(tmp_path):
    """Its key points may lack the suffix that a folder's name has, as where they are loaded."""
    write_frame_folder(tmp_path / "test" / "a.mp4", noise(2, 16, 16))
    points = save_keypoints(tmp_path / "keypoints", "a", random_keypoints(16, 16))
    clips = ClipFolder(params(tmp_path), "test", with_keypoints=True)
    assert clips.files("a.mp4") == {"clip": tmp_path / "test" / "a.mp4", "key points": points}


def test_key_points_and_tracks_of_another_clip_are_refused(tmp_path, capsys):
    clip, folder = tmp_path / "train" / "a", tmp_path / "keypoints"
    write_frame_folder(clip, noise(2, 16, 16))
    points, track = random_keypoints(0, 16), random_track(random_keypoints(0, 16), 16, frames=2)
    save_keypoints(folder, "a", points)
    onset, detector = Onset(clip, open_clip(clip).first()), SimpleNamespace(name="none", version="1")
    update_manifest(folder, {"a": make_entry(onset, None, "largest", detector, "template")})
    save_track(folder, "a", track)

    def load() -> FramesDataset:
        return FramesDataset(params(tmp_path), True, with_tracks=True)

    load()
    assert "1 tracks in" in (said := capsys.readouterr().out) and "do not say which clip they were made from" in said
    save_track(folder, "a", track, Fingerprint.of(clip))
    os.utime(clip / "0000000.png", (0, 0))
    load()
    said = capsys.readouterr().out
    assert said.startswith("no face was found in 1 of 1 clips") and said.count("\n") == 1 and ": a; look at" in said
    write_frame_folder(clip, np.concatenate([noise(1, 16, 16), noise(1, 16, 16, seed=1)]))
    with pytest.raises(KeypointError, match="the track of 'a' .* was made from another clip"):
        load()
    write_frame_folder(clip, noise(2, 16, 16, seed=2))
    with pytest.raises(KeypointError, match="the key points of 'a' .* made from another clip .*: run python kpmaker"):
        load()
    write_frame_folder(clip, noise(2, 16, 16))
    save_keypoints(folder, "a", points + 1)
    with pytest.raises(KeypointError, match=r"the track of 'a' .* from other key points"):
        load()


def test_a_field_that_is_not_finite_is_said(tmp_path):
    write_frame_folder(tmp_path / "train" / "clip", noise(3, 16, 16))
    save_keypoints(tmp_path / "keypoints", "clip", random_keypoints(0, 16))
    track = random_track(random_keypoints(0, 16), 16, frames=3)
    track.field[2, 1, 1] = float("nan")
    save_track(tmp_path / "keypoints", "clip", track)
    clips = ClipFolder(params(tmp_path), "train", True, with_tracks=True)
    assert clips.track("clip", [0, 1])
    with pytest.raises(KeypointError, match="the track of 'clip' .* NaN .* kpmaker.py .* --track --overwrite"):
        clips.track("clip", [1, 2])


def test_key_points_lie_beside_their_data_sets(tmp_path, monkeypatch, capsys):
    """Each set of a mix has its own, whatever is in the released code's folder, which serves where there are none."""
    roots = [tmp_path / "one", tmp_path / "two"]
    for root in roots:
        make_data(root)
    for clip in [*roots[1].glob("train/*"), *roots[1].glob("test/*")]:
        clip.rename(clip.with_name(f"two_{clip.name}"))
        points = tmp_path / "two" / "keypoints" / f"{clip.name}.pt"
        points.rename(points.with_name(f"two_{points.name}"))
    for root in roots:
        (root / "keypoints").rename(root / "keypoint_folder")
    (tmp_path / "keypoint_folder").mkdir()
    monkeypatch.chdir(tmp_path)
    clips = ClipFolder(params(tmp_path, root_dir=["one", "two"], keypoint_folder=None), "train", True)
    clips.check_keypoints()
    assert {clips.keypoint_folder(name).parent.name for name in clips.names} == {"one", "two"}
    assert not capsys.readouterr().out
    (tmp_path / "two" / "keypoint_folder").rename(tmp_path / "elsewhere")
    clips = ClipFolder(params(tmp_path, root_dir=["two"], keypoint_folder=None), "train", True)
    assert "key points of two are taken from keypoint_folder in the working directory" in capsys.readouterr().out
    with pytest.raises(KeypointError, match="--out keypoint_folder --detector dlib"):
        clips.check_keypoints()
    (tmp_path / "keypoint_folder").rmdir()
    clips = ClipFolder(params(tmp_path, root_dir=["two"], keypoint_folder=None), "train", True)
    with pytest.raises(KeypointError, match="Make it with: python kpmaker.py --root two --detector dlib$"):
        clips.check_keypoints()
