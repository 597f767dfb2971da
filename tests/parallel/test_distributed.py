"""Several processes train as one does: the same losses, one log, one error, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

import train as engine
from checkpoint import read_checkpoint
from frames_dataset import DataError, EpochSampler
from logger import read_lines
from modules.sync_batch_norm import GlobalBatchNorm, synchronise_batch_norms
from modules.transform import Transform
from parallel.distributed import ALONE, Team
from tests.conftest import ROOT, make_data, training_config

CPU = torch.device("cpu")
RUN = str(ROOT / "run.py")


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


def command(config: Path, *arguments: str) -> list[str]:
    own = ["--config", str(config), "--log_dir", str(config.parent / "log"), "--device", "cpu"]
    return [sys.executable, RUN, *own, *arguments]


def losses(folder: Path) -> list[dict]:
    left_out = ("seconds", "background_share")  # a share of a mask is no loss, and swings more
    return [{k: v for k, v in row.items() if k not in left_out} for row in read_lines(folder / "metrics.jsonl")]


def write_config(folder: Path, name: str = "tiny.yaml", family: str = "fpb_fomm", **train_params) -> Path:
    data = folder / "data"
    if not data.exists():
        make_data(data, train=4)
    path = folder / name
    path.write_text(yaml.safe_dump(settings(family, data, **train_params)))
    return path


def settings(family: str, data: Path, **train_params) -> dict:
    """Five steps an epoch without a discriminator, at low learning rates.

    Networks this small blow rounding up within a few steps, wherever a ReLU turns on its account; a discriminator
    that normalises maps of 2×2 does so at once.
    """
    names = ("lr",) if family == "mraa" else ("lr_generator", "lr_discriminator", "lr_kp_detector")
    rates = dict.fromkeys(names, 3e-6 if family == "mraa" else 1e-5)
    gan = (
        {} if family == "mraa" else {"loss_weights": {"reconstruction": 10, "deformed": 10, "equivariance_jacobian": 1}}
    )
    return training_config(
        family, data, **{"batch_size": 4, "num_repeats": 5, "seed": 3, **rates, **gan, **train_params}
    )


def run_folder(folder: Path) -> Path:
    (found,) = (folder / "log").iterdir()
    return found


def assert_close(found: list[dict], expected: list[dict], tolerance: float = 1e-4) -> None:
    assert [row["step"] for row in found] == [row["step"] for row in expected]
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("family", ["fpb_fomm", "mraa"])
def test_two_processes_are_one(family, tmp_path):
    """Ten steps with half the batch each, from one command line; then one process goes on where they stopped."""
    config = write_config(tmp_path, family=family, num_epochs=2)
    subprocess.run(command(config, "--device_ids", "0,1"), check=True, env=environment(), timeout=300)
    folder = run_folder(tmp_path)
    engine.train(settings(family, tmp_path / "data", num_epochs=2), tmp_path / "one", CPU)
    assert len(losses(folder)) == 10
    assert_close(losses(folder), losses(tmp_path / "one"))
    mine, whole = (read_checkpoint(f / "00000001-checkpoint.pth.tar") for f in (folder, tmp_path / "one"))
    assert list(mine["generator"]) == list(whole["generator"])
    norm = "first.norm.running_var"
    assert torch.allclose(mine["generator"][norm], whole["generator"][norm], rtol=1e-3)
    assert len((folder / "log.txt").read_text().splitlines()) == 2, "one process alone writes"

    more = settings(family, tmp_path / "data", num_epochs=3)
    engine.train(more, folder, CPU, checkpoint=folder / "00000001-checkpoint.pth.tar")
    engine.train(more, tmp_path / "one", CPU, checkpoint=tmp_path / "one" / "00000001-checkpoint.pth.tar")
    assert_close(losses(folder), losses(tmp_path / "one"), 1e-3)


def test_a_worker_that_dies_ends_the_job(tmp_path):
    """Rank 1 meets a broken clip in the second epoch: its own error, at once, and the checkpoint is whole."""
    config = write_config(tmp_path, num_epochs=50, dataloader_workers=0)
    job = subprocess.Popen(
        command(config, "--device_ids", "0,1"), env=environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        first = wait_for(lambda: list((tmp_path / "log").glob("*/00000000-checkpoint.pth.tar")), job)[0]
        for frame in (tmp_path / "data" / "train").rglob("*.png"):
            frame.write_bytes(b"broken")
        began = time.monotonic()
        _, output = job.communicate(timeout=120)
    finally:
        job.kill()
    assert job.returncode != 0
    assert time.monotonic() - began < 60
    assert "error: cannot read" in output.decode()
    assert read_checkpoint(first)["step"] == 5


def test_interruption_and_another_number_of_processes(tmp_path):
    """SIGTERM to a team of two leaves one checkpoint, from which one process goes on to the very same losses."""
    config = write_config(tmp_path, num_epochs=40)
    job = subprocess.Popen(command(config, "--device_ids", "0,1"), env=environment(), stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: list((tmp_path / "log").glob("*/00000000-checkpoint.pth.tar")), job)
        job.send_signal(signal.SIGINT)
        launcher = children(job.pid)
        for pid in launcher:
            os.kill(pid, signal.SIGTERM)
        assert job.wait(timeout=120) != 0
    finally:
        job.kill()
    folder = run_folder(tmp_path)
    stopped = folder / engine.INTERRUPTED
    assert stopped.is_file()
    state = read_checkpoint(stopped)
    config = settings("fpb_fomm", tmp_path / "data", num_epochs=state["epoch"] + 2)
    engine.train(config, folder, CPU, checkpoint=stopped)
    engine.train(config, tmp_path / "one", CPU)
    assert_close(losses(folder)[:8], losses(tmp_path / "one")[:8], 1e-3)
    assert len(losses(folder)) == len(losses(tmp_path / "one"))


def wait_for(condition, job: subprocess.Popen, seconds: float = 200):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert job.poll() is None, "the job has ended"
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def children(pid: int) -> list[int]:
    if not Path(f"/proc/{pid}/task/{pid}/children").is_file():
        pytest.skip("this system does not say which processes belong together (/proc is missing)")
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("family", ["fpb_fomm", "mraa"])
def test_accumulation_draws_the_same_transforms(family, tmp_path):
    """With BatchNorm at rest, two parts of a batch are the batch."""
    data = make_data(tmp_path / "data", train=4)
    found = {}
    for parts in (1, 2):
        config = settings(family, data, num_epochs=1, accumulate_steps=parts, freeze_bn_after="0 steps")
        engine.train(config, tmp_path / str(parts), CPU)
        found[parts] = losses(tmp_path / str(parts))
    assert len(found[1]) == 5
    assert_close(found[2], found[1])


def test_a_discriminator_in_a_team(tmp_path):
    """Its losses begin as those of one process, and stay near them."""
    data = make_data(tmp_path / "data", train=4)
    config = training_config("fpb_fomm", data, batch_size=4, num_repeats=2, num_epochs=1)
    (tmp_path / "gan.yaml").write_text(yaml.safe_dump(config))
    subprocess.run(command(tmp_path / "gan.yaml", "--device_ids", "0,1"), check=True, env=environment(), timeout=300)
    engine.train(config, tmp_path / "one", CPU)
    found, expected = losses(run_folder(tmp_path)), losses(tmp_path / "one")
    assert {"gen_gan", "feature_matching", "disc_gan"} <= set(found[0])
    assert_close(found[:1], expected[:1])
    assert_close(found, expected, 0.05)


def test_shares_that_do_not_come_out(tmp_path):
    config = training_config("fpb_fomm", make_data(tmp_path / "data"), batch_size=3, accumulate_steps=2)
    with pytest.raises(DataError, match=r"batch_size is 3.*2 equal shares.*multiple of 2"):
        engine.Trainer(config, "train", CPU)


def test_the_processes_share_the_very_same_batches():
    whole = EpochSampler(23, seed=3)
    shared = [EpochSampler(23, 3, shares=4, size=2, rank=rank, batch_size=8) for rank in (0, 1)]
    for sampler in (whole, *shared):
        sampler.epoch = 5
    order = list(whole)[:16]  # two whole batches
    first, second = (list(sampler) for sampler in shared)
    assert len(first) == len(second) == len(shared[0]) == 8
    parts = [
        address
        for a, b in zip(range(0, 8, 2), range(0, 8, 2), strict=True)
        for address in (*first[a : a + 2], *second[b : b + 2])
    ]
    assert parts == order
    for sampler in shared:
        sampler.start = 8
    assert list(shared[0]) == first[4:]


def test_transform_of_rows_is_that_of_the_whole():
    torch.manual_seed(1)
    whole = Transform(4, 0.05, 0.005, 5)
    torch.manual_seed(1)
    part = Transform(2, 0.05, 0.005, 5, rows=(1, 4))
    assert torch.equal(part.theta, whole.theta[1:3])
    assert torch.equal(part.control_params, whole.control_params[1:3])


def test_global_batch_norm_of_one_process_is_batch_norm(monkeypatch):
    """Values, gradients and statistics; the sum over one process is the tensor itself."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: None)
    torch.manual_seed(0)
    own = torch.nn.Sequential(torch.nn.BatchNorm2d(3))
    with torch.no_grad():
        own[0].weight.uniform_(0.5, 2)
        own[0].bias.normal_()
    other = torch.nn.Sequential(torch.nn.BatchNorm2d(3))
    other.load_state_dict(own.state_dict())
    synchronise_batch_norms(other)
    assert isinstance(other[0], GlobalBatchNorm)
    assert list(other.state_dict()) == list(own.state_dict())
    x = (torch.randn(4, 3, 5, 6) * 3 + 100).requires_grad_()
    y = x.detach().clone().requires_grad_()
    one, two = own(x), other(y)
    (one * torch.arange(6.0)).sum().backward()
    (two * torch.arange(6.0)).sum().backward()
    assert torch.allclose(one, two, atol=1e-4)
    assert torch.allclose(x.grad, y.grad, atol=1e-3)
    assert torch.allclose(own[0].weight.grad, other[0].weight.grad, rtol=1e-3, atol=1e-3)
    for name, value in own.state_dict().items():
        assert torch.allclose(value, other.state_dict()[name], rtol=1e-5), name
    own.eval(), other.eval()
    assert torch.allclose(own(x), other(x), atol=1e-5)


def test_alone():
    assert Team() == ALONE
    assert ALONE.first
    assert ALONE.any(True) is True
    assert not ALONE.any(False)
    assert ALONE.share("a") == "a"
    values = torch.tensor([1.0, 2.0])
    assert ALONE.mean(values) is values


THREADS = """
import os, sys
from pathlib import Path
import torch
from parallel import distributed as team
class Model(torch.nn.Linear):  # a part of a cycle, as trained models are
    def __init__(self):
        super().__init__(2, 2)
        self.wrapped = [CURRENT.wrap(torch.nn.Linear(2, 2)), self]

def threads():
    return [name for name in (Path(p, "comm").read_text() for p in Path("/proc/self/task").iterdir()) if "gloo" in name]

with team.join(torch.device("cpu")) as CURRENT:
    model = Model()
    model.wrapped[0](torch.rand(3, 2)).sum().backward()
    before = len(threads())
    del model
Path(sys.argv[1], os.environ["RANK"]).write_text(f"{before > 0} {len(threads())}")
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc to count threads")
def test_no_thread_of_the_team_outlives_it(tmp_path):
    """One that runs while Python shuts down aborts the process now and then."""
    script = tmp_path / "threads.py"
    script.write_text(THREADS)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    subprocess.run(
        [*launch, str(script), str(tmp_path)], check=True, env=environment(PYTHONPATH=str(ROOT)), timeout=120
    )
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["True 0"] * 2


def test_out_of_memory_says_what_fits(tmp_path, monkeypatch):
    config = training_config("fpb_fomm", make_data(tmp_path / "data"), batch_size=6, num_epochs=1)

    def full(self, *parts):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine.Trainer, "train_step", full)
    with pytest.raises(engine.TrainingError, match=r"accumulate_steps to 2, .* 3 at a time; or .*batch_size to 3"):
        engine.train(config, tmp_path / "run", CPU)


def test_out_of_memory_with_single_samples(tmp_path):
    config = training_config("fpb_fomm", make_data(tmp_path / "data"), batch_size=2, accumulate_steps=2)
    assert "frame_shape" in engine.out_of_memory(engine.Trainer(config, "train", CPU))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: a process on it trains as on the processor")
def test_cuda_is_close(tmp_path):
    config = training_config("fpb_fomm", make_data(tmp_path / "data"), num_epochs=1)
    for name in ("cpu", "cuda"):
        engine.train(config, tmp_path / name, torch.device(name))
    assert_close(losses(tmp_path / "cuda"), losses(tmp_path / "cpu"), 0.02)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs: NCCL and nn.SyncBatchNorm")
def test_two_gpus_are_one(tmp_path):
    config = write_config(tmp_path, num_epochs=2)
    arguments = [*command(config), "--device", "cuda", "--device_ids"]
    subprocess.run([*arguments, "0,1"], check=True, env=environment(), timeout=300)
    folder = run_folder(tmp_path)
    engine.train(settings("fpb_fomm", tmp_path / "data", num_epochs=2), tmp_path / "one", torch.device("cuda", 0))
    assert_close(losses(folder), losses(tmp_path / "one"), 1e-2)
    assert json.loads((folder / "environment.jsonl").read_text().splitlines()[0])["command"]
