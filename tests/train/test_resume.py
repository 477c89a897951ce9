"""No run is lost: killed at any moment and started again, it ends in the same bits as one that was never broken."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from caravan.terminal import INTERRUPTED
from caravan.train.metrics import METRICS
from conversations import write_conversations
from tiny import tiny_model, tiny_tokenizer

STEPS = 24
RUN = [sys.executable, "-m", "caravan.train.cli", "fsdp"]
OPTIONS = {
    "precision": "fp32", "max-length": 128, "batch-size": 8, "epochs": 6, "lr": 1e-3, "save-every": 3, "eval-every": 8,
    "max-steps": STEPS,
}  # fmt: skip


def command(folder: Path, out: str, **options: Any) -> list[str]:
    told = {"model": folder / "model", "out": folder / out} | OPTIONS | options
    flags = [str(part) for name, value in told.items() for part in (f"--{name.replace('_', '-')}", value)]
    return [*RUN, str(folder / "rows.parquet"), *flags]


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A folder with a tiny model and 40 ragged conversations."""
    tiny_tokenizer(tmp_path / "model")
    tiny_model("llama", tmp_path / "model", tied=True)
    write_conversations(tmp_path / "rows.parquet", 40)
    return tmp_path


def figures(out: Path) -> list[dict[str, Any]]:
    """All records but what the clock says."""
    return [
        {name: value for name, value in json.loads(line).items() if name != "speed"}
        for line in (out / METRICS).read_text().splitlines()
    ]


def weights(out: Path) -> str:
    return sha256((out / "model" / "model.safetensors").read_bytes()).hexdigest()


def unbroken(folder: Path, **options: Any) -> Path:
    subprocess.run(command(folder, "straight", **options), check=True, capture_output=True)
    return folder / "straight"


def broken(folder: Path, how: signal.Signals, kills: int, **options: Any) -> Path:
    """Run to the end, killed `kills` times on the way, each time when the log reaches a random step."""
    rng = random.Random(kills)
    out = folder / f"broken-{how.name}"
    log = out / METRICS
    left = kills
    while True:
        saved = [int(path.name.removeprefix("step-")) for path in (out / "checkpoints").glob("step-*")]
        at = rng.randrange(min(max(saved, default=0), STEPS - 1), STEPS) + 1
        before = log.stat().st_mtime_ns if log.exists() else 0  # what the run before left does not count
        running = subprocess.Popen(
            command(folder, out.name, **options),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        while left and running.poll() is None:
            if log.exists() and log.stat().st_mtime_ns > before and log.read_bytes().count(b"\n") >= at:
                left -= 1
                os.killpg(running.pid, how)  # all processes of the run at once
                break
            time.sleep(0.005)
        said = running.communicate()[0].decode()
        if running.returncode == 0:
            assert not left or len(figures(out)) == STEPS
            return out
        assert running.returncode == (-signal.SIGKILL if how == signal.SIGKILL else INTERRUPTED), said
        if how == signal.SIGTERM:
            assert "same command" in said
            assert "Traceback" not in said


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_ends_in_the_same_bits(job: Path, how: signal.Signals) -> None:
    straight = unbroken(job)
    ended = broken(job, how, kills=2)
    assert figures(ended) == figures(straight)
    assert weights(ended) == weights(straight)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_two_processes_killed_ten_times_end_in_the_same_bits(job: Path, how: signal.Signals) -> None:
    straight = unbroken(job, nproc=2)
    ended = broken(job, how, kills=10, nproc=2)
    assert figures(ended) == figures(straight)
    assert weights(ended) == weights(straight)


@pytest.mark.slow
def test_torchrun_restarts_a_run_whose_worker_was_killed(job: Path) -> None:
    """Elastic restart: torchrun starts both workers anew, and they go on from the last checkpoint."""
    straight = unbroken(job, nproc=2)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = command(job, "elastic")[1:]
    running = subprocess.Popen(
        [*torchrun, "--max-restarts", "2", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    log = job / "elastic" / METRICS
    while running.poll() is None and not (log.exists() and log.read_bytes().count(b"\n") >= 10):
        time.sleep(0.01)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    said = running.communicate()[0].decode()
    assert running.returncode == 0, said
    assert "going on from step 9" in said
    assert figures(job / "elastic") == figures(straight)
    assert weights(job / "elastic") == weights(straight)


def test_another_mixture_is_refused(job: Path) -> None:
    unbroken(job)
    write_conversations(job / "rows.parquet", 41)
    again = subprocess.run(command(job, "straight"), capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "mixture" in again.stderr.splitlines()[-1]
