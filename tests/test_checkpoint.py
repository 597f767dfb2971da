"""Checkpoints: published layouts load, others are refused whole, and no kill costs the last good file."""

from __future__ import annotations

import argparse
import gzip
import io
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import nn

from checkpoint import (
    VGG_FILE,
    CheckpointError,
    family_of,
    file_hash,
    load_for_inference,
    load_networks,
    load_vgg19,
    read_checkpoint,
    warm_start,
    write_checkpoint,
)
from modules import build_networks
from tests.conftest import ROOT, golden_state, tiny_config
from tests.pictures import leftovers

CPU = torch.device("cpu")
NETWORKS = ("generator", "kp_detector", "discriminator")


@pytest.fixture
def published(fpb_golden) -> dict:
    """A checkpoint as the original authors' code writes it: state dicts and an epoch, no config."""
    return {name: golden_state(fpb_golden, name) for name in NETWORKS} | {"epoch": 99}


@pytest.fixture
def networks() -> dict[str, nn.Module]:
    torch.manual_seed(1)
    return build_networks(tiny_config())


def states(networks: dict[str, nn.Module]) -> dict[str, torch.Tensor]:
    return {f"{n}.{k}": v.clone() for n, net in networks.items() for k, v in net.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def saved(data: object, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(data, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def golden_states(published: dict) -> dict[str, torch.Tensor]:
    return {f"{name}.{key}": value for name in NETWORKS for key, value in published[name].items()}


# ------------------------------------------------------------------------------------------ published layouts
def test_current_layout(published, networks, tmp_path):
    write_checkpoint(tmp_path / "a.pth.tar", published)
    load_networks(networks, read_checkpoint(tmp_path / "a.pth.tar"), "fpb_fomm")
    assert equal(states(networks), golden_states(published))


def test_early_layout(published, networks, tmp_path):
    """The authors' early detector carries conv1.* and conv2.*, which nothing uses."""
    expected = golden_states(published)
    for index in (1, 2):
        published["kp_detector"][f"conv{index}.weight"] = torch.randn(3, 3, 3, 3)
        published["kp_detector"][f"conv{index}.bias"] = torch.randn(3)
    write_checkpoint(tmp_path / "a.pth.tar", published)
    load_networks(networks, read_checkpoint(tmp_path / "a.pth.tar"), "fpb_fomm")
    assert equal(states(networks), expected)


def test_conv_entries_are_extras_in_the_detector_alone(published, networks):
    published["generator"]["conv1.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"unexpected: generator\.conv1\.weight"):
        load_networks(networks, published, "fpb_fomm")


def test_data_parallel_prefix(published, networks):
    wrapped = {name: {f"module.{k}": v for k, v in published[name].items()} for name in NETWORKS}
    load_networks(networks, wrapped, "fpb_fomm")
    assert equal(states(networks), golden_states(published))


def test_legacy_file_format(published, tmp_path):
    """Published files are older than torch 1.6 and its zip format."""
    (tmp_path / "a.pth.tar").write_bytes(saved(published, legacy=True))
    model = load_for_inference(tmp_path / "a.pth.tar", tiny_config(), CPU)
    assert model.family == "fpb_fomm"
    assert not model.networks["generator"].training
    assert not any(p.requires_grad for net in model.networks.values() for p in net.parameters())
    assert set(model.networks) == {"generator", "kp_detector"}, "no discriminator for inference"


def test_saved_on_a_gpu_loads_on_the_cpu(tmp_path, published):
    """Storages are mapped to the CPU whatever device the file names (pitfall 72)."""
    raw = saved(published, legacy=True).replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:7")
    (tmp_path / "a.pth").write_bytes(raw)
    assert b"cuda:7" in raw
    assert read_checkpoint(tmp_path / "a.pth")["generator"]["final.weight"].device == CPU


def test_own_checkpoint_rebuilds_its_model(published, tmp_path):
    write_checkpoint(tmp_path / "a.pth", {**published, "config": tiny_config()})
    model = load_for_inference(tmp_path / "a.pth", None, CPU)
    assert equal(
        states(model.networks),
        {k: v for k, v in golden_states(published).items() if "discriminator" not in k},
    )
    write_checkpoint(tmp_path / "b.pth", published)
    with pytest.raises(CheckpointError, match=r"carries no config.*--config"):
        load_for_inference(tmp_path / "b.pth", None, CPU)


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_animator_works_on_rebuilt_copies(published, tmp_path, precision, dtype):
    config = {**tiny_config(), "animate_params": {"precision": precision}}
    write_checkpoint(tmp_path / "a.pth", {**published, "config": config})
    model = load_for_inference(tmp_path / "a.pth", None, CPU)
    before = {key: value.clone() for key, value in states(model.networks).items()}
    animator = model.animator()
    assert animator.generator.final[0].weight.dtype == dtype
    assert len(list(animator.generator.parameters())) < len(list(model.networks["generator"].parameters()))
    assert equal(states(model.networks), before)


def test_single_use_takes_the_networks_themselves(published, tmp_path):
    write_checkpoint(tmp_path / "a.pth", {**published, "config": tiny_config()})
    model = load_for_inference(tmp_path / "a.pth", None, CPU, single_use=True)
    generator = model.networks["generator"]
    assert model.animator().generator is generator
    assert not model.networks
    with pytest.raises(RuntimeError, match="single use"):
        model.animator()


# ------------------------------------------------------------------------------------------ mismatches
def mismatched(published: dict) -> dict[str, tuple[dict, list[str]]]:
    final = "final.weight"
    without = {k: v for k, v in published["generator"].items() if k != final}
    other_shape = {**published["generator"], final: torch.zeros(3, 4, 5, 5)}
    return {
        "missing": ({**published, "generator": without}, [f"missing: generator.{final}"]),
        "unexpected": (
            {**published, "generator": {**published["generator"], "extra.bias": torch.zeros(2)}},
            ["unexpected: generator.extra.bias"],
        ),
        "shape": (
            {**published, "generator": other_shape},
            [f"shape: generator.{final} is [3, 4, 5, 5] in the file, [3, 4, 7, 7] in the config"],
        ),
        "network": (
            {k: v for k, v in published.items() if k != "discriminator"},
            ["missing: discriminator (the file holds generator, kp_detector, epoch)"],
        ),
        "several": (
            {**published, "generator": without, "kp_detector": {}},
            [f"missing: generator.{final}", "missing: kp_detector.predictor.", "… and", " more"],
        ),
    }


@pytest.mark.parametrize("case", ["missing", "unexpected", "shape", "network", "several"])
def test_mismatch_lists_the_keys_and_changes_nothing(case, published, networks):
    data, parts = mismatched(published)[case]
    before = states(networks)
    with pytest.raises(CheckpointError, match="nothing was loaded") as caught:
        load_networks(networks, data, "fpb_fomm", "a.pth")
    for part in ("a.pth", *parts):
        assert part in str(caught.value)
    assert equal(states(networks), before)


def test_other_models_are_named(published, networks, fomm_golden):
    fomm = {name: golden_state(fomm_golden, name) for name in ("generator", "kp_detector")}
    assert (family_of(fomm), family_of(published), family_of({"region_predictor": {}})) == (
        "fomm",
        "fpb_fomm",
        "mraa",
    )
    assert family_of({"config": {"model": "fomm"}}) == "fomm"
    for data in (fomm, published):  # saved from DataParallel
        wrapped = {name: {f"module.{key}": value for key, value in data[name].items()} for name in fomm}
        assert family_of(wrapped) == family_of(data)
    assert family_of({"generator": {"pixelwise_flow_predictor.mask.bias": torch.zeros(1)}}) == "mraa"
    assert family_of({"weights": {}}) is None
    before = states(networks)
    for data, theirs in ((fomm, "fomm"), ({"region_predictor": {}, "generator": {}}, "mraa")):
        with pytest.raises(
            CheckpointError, match=f"is a checkpoint of model: {theirs}, but .* of model: fpb_fomm"
        ):
            load_networks(networks, data, "fpb_fomm", "a.pth")
    assert equal(states(networks), before)


# ------------------------------------------------------------------------------------------ unreadable files
class Evil:
    """Creates a file when unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol 4")
@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle2", "pickle4", "module", "numpy"])
def test_pickles_that_could_run_code_are_refused(kind, tmp_path):
    evil = {"generator": {"final.weight": Evil(tmp_path / "pwned")}}
    content = {
        "zip": lambda: saved(evil),
        "legacy": lambda: saved(evil, legacy=True),
        "pickle2": lambda: pickle.dumps(evil, 2),
        "pickle4": lambda: pickle.dumps(evil, 4),
        "module": lambda: saved({"generator": nn.Linear(2, 2)}),
        "numpy": lambda: saved({"generator": {"a": np.zeros(3)}}),
    }[kind]()
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.pth was refused: .* could run code"):
        read_checkpoint(tmp_path / "a.pth")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"hello world", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04junk"],
)
def test_no_checkpoint_at_all(content, tmp_path):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"truncated or no checkpoint \({len(content)} bytes\)"):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_anywhere(legacy, tmp_path):
    raw = saved({"generator": {"a": torch.randn(20, 20), "b": torch.ones(3)}, "epoch": 3}, legacy)
    for cut in (*range(0, 250, 5), *range(250, len(raw), len(raw) // 25)):
        (tmp_path / "a.pth").write_bytes(raw[:cut])
        with pytest.raises(CheckpointError, match=r"a\.pth"):
            read_checkpoint(tmp_path / "a.pth")


def packed(kind: str, content: bytes) -> bytes:
    """A checkpoint's bytes in an archive."""
    out = io.BytesIO()
    if kind == "gzip":
        return gzip.compress(content)
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("vox/a.pth", content)
    else:
        with tarfile.open(fileobj=out, mode="w") as archive:
            info = tarfile.TarInfo("a.pth")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("gzip", "is an archive.*unpack it"),
        ("zip", "is an archive.*unpack it"),
        ("tar", "is an archive.*unpack it"),
        ("page", "is a web page.*download"),
        ("safetensors", "is a safetensors file"),
        ("half", "truncated or no checkpoint"),
    ],
)
def test_files_that_are_something_else_are_named(kind, words, tmp_path):
    whole = saved({"generator": {"a": torch.randn(200, 20)}})
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    content = {
        "page": b"\n<!DOCTYPE html><html>Google Drive - Virus scan warning</html>",
        "safetensors": len(header).to_bytes(8, "little") + header + bytes(4),
        "half": whole[: len(whole) // 2],
    }.get(kind) or packed(kind, whole)
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(tmp_path / "a.pth")


def test_an_unpacked_checkpoint_is_named_for_what_it_is(tmp_path):
    with zipfile.ZipFile(io.BytesIO(saved({"generator": {"a": torch.ones(1)}}))) as archive:
        archive.extractall(tmp_path / "vox.pth.tar")
    with pytest.raises(CheckpointError, match=r"vox\.pth\.tar is a folder.*as it was downloaded: do not unpack"):
        read_checkpoint(tmp_path / "vox.pth.tar")
    (tmp_path / "run").mkdir()
    with pytest.raises(CheckpointError, match="run is a folder, no checkpoint: name the file in it"):
        read_checkpoint(tmp_path / "run")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("core", ["core", "_core"])
def test_numbers_of_numpy_are_read(core, legacy, tmp_path):
    """Those of NumPy 1 and 2, whose files name different modules."""
    numbers = {"a": np.float64(0.12), "b": np.float32(3), "c": np.int64(-4), "d": np.bool_(True), "e": np.str_("x")}
    raw = saved({"generator": {"w": torch.ones(2)}, **numbers}, legacy)
    (there,) = (name for name in (b"numpy._core.multiarray", b"numpy.core.multiarray") if name in raw)
    wanted = f"numpy.{core}.multiarray".encode()
    if legacy or there == wanted:
        (tmp_path / "a.pth").write_bytes(raw.replace(there, wanted))
    else:  # a zip's checksums follow
        with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(tmp_path / "a.pth", "w") as new:
            for name in old.namelist():
                new.writestr(name, old.read(name).replace(there, wanted))
    found = read_checkpoint(tmp_path / "a.pth")
    assert {name: found[name] for name in numbers} == numbers


def test_what_is_refused_is_named(tmp_path):
    torch.save({"generator": {}, "options": argparse.Namespace(lr=1)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"\(argparse\.Namespace\).*save its state dicts anew"):
        read_checkpoint(tmp_path / "a.pth")


def test_other_contents(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "nowhere.pth")
    for content, kind in ((torch.zeros(3), "Tensor"), ({"epoch": 3}, "dict"), ([1], "list")):
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(CheckpointError, match=rf"holds {kind}, not a dictionary of state dicts"):
            read_checkpoint(tmp_path / "a.pth")
    (tmp_path / "a.pth").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(CheckpointError, match=r"Git LFS pointer.*git lfs pull"):
        read_checkpoint(tmp_path / "a.pth")


def test_hash(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_hash(tmp_path / "a") == "ba7816bf8f01cfea"  # SHA-256 of "abc", FIPS 180-2


# ------------------------------------------------------------------------------------------ writing
def test_failure_while_writing_leaves_the_old_one(tmp_path, monkeypatch):
    write_checkpoint(tmp_path / "a.pth", {"generator": {"a": torch.ones(3)}})
    before = (tmp_path / "a.pth").read_bytes()

    def failing(data, file):
        file.write(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", failing)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path / "a.pth", {"generator": {}})
    assert (tmp_path / "a.pth").read_bytes() == before
    assert leftovers(tmp_path) == ["a.pth"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_full_disk(tmp_path, monkeypatch):
    """torch makes a RuntimeError of its own from ENOSPC; here the reason is said, and the old file stays."""
    write_checkpoint(tmp_path / "a.pth", {"generator": {"a": torch.ones(3)}})
    before = (tmp_path / "a.pth").read_bytes()
    opening = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda path, *args, **kw: opening(Path("/dev/full") if "w" in args[0] else path, *args, **kw),
    )
    with pytest.raises(OSError, match=r"cannot write .*a\.pth: the disk is full"):
        write_checkpoint(tmp_path / "a.pth", {"generator": {"a": torch.zeros(100000)}})
    monkeypatch.undo()
    assert (tmp_path / "a.pth").read_bytes() == before
    assert leftovers(tmp_path) == ["a.pth"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_kill_in_the_middle_leaves_the_last_good_one(tmp_path):
    """kill -9 when the new file is written but not yet in place."""
    write_checkpoint(tmp_path / "a.pth", {"generator": {"a": torch.ones(3)}, "epoch": 1})
    before = (tmp_path / "a.pth").read_bytes()
    program = f"""
        import os, sys, time
        sys.path.insert(0, {str(ROOT)!r})
        import torch, checkpoint
        os.fsync = lambda number: (print("written", flush=True), time.sleep(60))
        data = {{"generator": {{"a": torch.zeros(3)}}, "epoch": 2}}
        checkpoint.write_checkpoint({str(tmp_path / "a.pth")!r}, data)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"written\n"
    process.kill()
    process.communicate()
    assert (tmp_path / "a.pth").read_bytes() == before
    assert read_checkpoint(tmp_path / "a.pth")["epoch"] == 1
    assert [name for name in leftovers(tmp_path) if not name.startswith(".")] == ["a.pth"]


# ------------------------------------------------------------------------------------------ VGG
@pytest.fixture
def no_network(tmp_path, monkeypatch) -> Path:
    """An empty cache, and a download that fails."""

    def fail(*args, **kwargs):
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    return tmp_path / "hub" / "checkpoints" / VGG_FILE


def tiny_vgg(monkeypatch) -> dict[str, torch.Tensor]:
    """State dict of a VGG-19 of the real depth and two channels; torchvision's is replaced by it."""
    layers: list[nn.Module] = []
    channels = 3
    for convolutions in (2, 2, 4, 4, 4):
        for _ in range(convolutions):
            layers += [nn.Conv2d(channels, 2, 3, padding=1), nn.ReLU(inplace=True)]
            channels = 2
        layers.append(nn.MaxPool2d(2))

    class Net(nn.Module):
        def __init__(self, weights=None):
            super().__init__()
            self.features = nn.Sequential(*layers)

    monkeypatch.setattr("torchvision.models.vgg19", Net)
    state = {f"features.{k}": torch.randn_like(v) for k, v in nn.Sequential(*layers).state_dict().items()}
    return state | {"classifier.0.weight": torch.zeros(1)}


def test_vgg_that_cannot_be_had(no_network):
    with pytest.raises(CheckpointError) as caught:
        load_vgg19()
    parts = (
        "Name or service",
        VGG_FILE,
        str(no_network),
        "vgg_weights",
        "perceptual: [0,",
        "reconstruction: 10",
    )
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("place", ["cache", "named"])
def test_vgg_from_a_file(place, no_network, tmp_path, monkeypatch):
    state = tiny_vgg(monkeypatch)
    path = no_network if place == "cache" else tmp_path / "vgg.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    vgg = load_vgg19(None if place == "cache" else str(path))
    features = vgg(torch.rand(1, 3, 32, 32))
    assert len(features) == 5
    assert any(torch.equal(p, state["features.0.weight"]) for p in (*vgg.parameters(), *vgg.buffers()))


@pytest.mark.parametrize("content", [None, b"", b"<html>", "other"])
def test_vgg_file_that_is_none(content, no_network, tmp_path, monkeypatch):
    path = tmp_path / "vgg.pth"
    if content == "other":
        torch.save({"features.0.weight": torch.zeros(3)}, path)
        tiny_vgg(monkeypatch)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"(?s)cannot be had: .*train_params\.vgg_weights"):
        load_vgg19(str(path))


def test_values_that_are_not_finite_are_named():
    """By both ways into networks: all of a checkpoint, or what fits."""
    networks = build_networks(tiny_config())
    bad = {name: dict(network.state_dict()) for name, network in networks.items()}
    bad["generator"]["final.bias"] = torch.full_like(bad["generator"]["final.bias"], float("nan"))
    with pytest.raises(CheckpointError, match=r"model\.pth holds NaN .* such as generator\.final\.bias.*earlier"):
        load_networks(networks, bad, "fpb_fomm", "model.pth")
    assert "generator.final.bias: holds NaN or infinite values" in warm_start(networks, bad)[1]


@pytest.mark.parametrize("place", [0.3, 0.5, 0.9])
def test_flipped_bytes_are_no_weights(networks, tmp_path, place):
    write_checkpoint(tmp_path / "model.pth", {"generator": networks["generator"].state_dict()})
    read_checkpoint(tmp_path / "model.pth")
    data = bytearray((tmp_path / "model.pth").read_bytes())
    data[int(place * len(data))] ^= 4
    (tmp_path / "model.pth").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"model\.pth is (damaged|truncated)"):
        read_checkpoint(tmp_path / "model.pth")
