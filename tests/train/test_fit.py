"""`train fsdp` as a person types it: what comes out, what is refused, and in which words."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from caravan.train.config import TrainConfig, load
from conversations import write_conversations
from tiny import tiny_model, tiny_tokenizer

TRAIN = [sys.executable, "-m", "caravan.train.cli"]
QUICK = ["--precision", "fp32", "--max-length", "512", "--batch-size", "8", "--epochs", "1"]


def train(*words: str | Path, cwd: Path, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*TRAIN, *map(str, words)],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def job(tmp_path: Path) -> Path:
    tiny_tokenizer(tmp_path / "base")
    tiny_model("llama", tmp_path / "base")
    (tmp_path / "mix").mkdir()
    write_conversations(tmp_path / "mix" / "mix.parquet", 24)
    write_conversations(tmp_path / "mix" / "validation.parquet", 6, first=100)
    return tmp_path


def test_two_processes_start_by_themselves_and_leave_everything(job: Path) -> None:
    done = train("fsdp", "--model", "base", "--nproc", "2", "--json", *QUICK, cwd=job)
    told = json.loads(done.stdout)
    assert (told["steps"], told["total"], told["stopped"]) == (3, 3, None)
    lines = [json.loads(line) for line in (job / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    last = lines[-1]
    assert {"loss", "loss_by_source", "loss_by_turn", "lr", "grad_norm", "tokens", "supervised_tokens"} <= last.keys()
    assert last["epoch"] == 1.0
    assert sum(line["examples"] for line in lines) == 24
    assert {"training_sample", "validation"} == last["eval"].keys()
    assert last["eval"]["validation"]["supervised_tokens"] > 0
    there = {path.name for path in (job / "run" / "model").iterdir()}
    assert {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "README.md"} <= there
    assert (job / "run" / "loss.svg").read_text().startswith("<svg")
    assert load(str(job / "run" / "train.toml"), {}) == TrainConfig.model_validate(told_options(job))
    assert pl.read_parquet(job / "run" / "left_out.parquet").is_empty()


def told_options(job: Path) -> dict[str, Any]:
    return {"model": "base", "nproc": 2, "precision": "fp32", "max_length": 512, "batch_size": 8, "epochs": 1}


def test_the_same_command_again_has_nothing_left_to_do(job: Path) -> None:
    first = train("fsdp", "--model", "base", *QUICK, cwd=job)
    before = (job / "run" / "model" / "model.safetensors").read_bytes()
    log = (job / "run" / "metrics.jsonl").read_text()
    train("fsdp", "--model", "base", *QUICK, cwd=job)
    assert (job / "run" / "model" / "model.safetensors").read_bytes() == before
    assert (job / "run" / "metrics.jsonl").read_text() == log
    assert "model: run/model" in first.stdout


def test_an_export_of_an_earlier_step_does_not_pass_for_the_runs_end(job: Path) -> None:
    """As if the run was killed between its last checkpoint and its export, where an earlier step had been exported."""
    train("fsdp", "--model", "base", *QUICK, "--save-every", "1", "--keep", "9", cwd=job)
    last = (job / "run" / "model" / "model.safetensors").read_bytes()
    train("export", "run", "--step", "1", cwd=job)
    assert (job / "run" / "model" / "model.safetensors").read_bytes() != last
    train("fsdp", "--model", "base", *QUICK, "--save-every", "1", "--keep", "9", cwd=job)
    assert (job / "run" / "model" / "model.safetensors").read_bytes() == last


def test_two_ranks_go_on_as_one_with_the_same_order(job: Path) -> None:
    """A run of two processes is stopped, and goes on with one: the same conversations in each step, the same losses."""
    train("fsdp", "--model", "base", "--out", "straight", *QUICK, "--epochs", "2", cwd=job)
    stopped = ["fsdp", "--model", "base", *QUICK, "--epochs", "2", "--save-every", "2"]
    train(*stopped, "--nproc", "2", "--time-budget", "0.000001", cwd=job, code=130)
    done = train(*stopped, "--nproc", "1", cwd=job)
    assert "going on from step 1 of 6" in done.stderr
    one, two = (
        [json.loads(line) for line in (job / out / "metrics.jsonl").read_text().splitlines()]
        for out in ("straight", "run")
    )
    assert [line["tokens"] for line in one] == [line["tokens"] for line in two]
    assert [line["loss"] for line in one] == pytest.approx([line["loss"] for line in two], rel=1e-5)


@pytest.mark.parametrize("how", [["--replicas", "2"], ["--cpu-offload"], ["--micro-batch-size", "4", "--no-packing"]])
def test_how_it_is_spread_over_two_processes_changes_no_figure(job: Path, how: list[str]) -> None:
    """HSDP, offloaded shards, other bins: the losses of one plain process."""
    train("fsdp", "--model", "base", "--out", "plain", *QUICK, cwd=job)
    train("fsdp", "--model", "base", "--nproc", "2", *how, *QUICK, cwd=job)
    plain, spread = (losses(job / out) for out in ("plain", "run"))
    assert spread == pytest.approx(plain, rel=1e-5)


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_compiled_blocks_change_no_figure(job: Path) -> None:
    """Needs a C++ compiler here, and a minute."""
    train("fsdp", "--model", "base", "--out", "plain", *QUICK, cwd=job)
    train("fsdp", "--model", "base", "--compile", *QUICK, cwd=job)
    assert losses(job / "run") == pytest.approx(losses(job / "plain"), rel=1e-5)


def test_resuming_is_proven_on_the_model_itself(job: Path) -> None:
    done = train(
        "check", "--resume", "--model", "base", "--json", *QUICK, "--batch-size", "4", "--epochs", "2", cwd=job
    )
    told = json.loads(done.stdout)
    assert told["same"] is True
    assert told["steps"] == 8
    assert {path.name for path in job.iterdir()} == {"base", "cache", "mix"}


def test_it_runs_within_torchrun(job: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "caravan.train.cli", "fsdp", "--model", "base", *QUICK]
    done = subprocess.run(command, cwd=job, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (job / "run" / "model" / "model.safetensors").exists()


def test_bf16_trains_and_is_exported_in_bf16(job: Path) -> None:
    told = json.loads(train("fsdp", "--model", "base", *QUICK, "--precision", "bf16", "--json", cwd=job).stdout)
    assert told["figures"]["loss"] < 6.5
    config = json.loads((job / "run" / "model" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"


def test_lora_is_merged_when_exported(job: Path) -> None:
    train("fsdp", "--model", "base", *QUICK, "--lora-rank", "4", "--lr", "0.01", cwd=job)
    there = [path.name for path in (job / "run" / "model").iterdir()]
    assert "adapter_config.json" not in there
    assert "model.safetensors" in there


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--model", "nowhere"], "nowhere: no such model"),
        (["--model", "base", "--lr", "0"], "--lr"),
        (["--model", "base", "--max-length", "4096"], "--max-length 512"),
        (["--model", "base", "--template", "tokenizer"], "--template tulu"),
        (["--model", "base", "--nproc", "2", "--replicas", "3"], "--replicas"),
        (["--model", "base", "--config", "none.toml"], "none.toml"),
        (["none.parquet", "--model", "base"], "none.parquet"),
    ],
)
def test_what_cannot_work_is_one_line(job: Path, words: list[str], told: str) -> None:
    done = train("fsdp", *words, cwd=job, code=2)
    assert told in done.stderr.splitlines()[-1]


def test_a_7b_model_is_refused_here_before_anything_is_fetched(job: Path) -> None:
    """The default is the paper's LLaMA 7B; this machine cannot hold it, and says so from the built-in shape."""
    done = train("fsdp", "--gpu-memory", "8", cwd=job, code=2, HF_HUB_OFFLINE="1")
    assert "GiB" in done.stderr.splitlines()[-1]


def test_two_runs_do_not_write_into_one_folder(job: Path) -> None:
    (job / "run").mkdir()
    with (job / "run" / ".lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = train("fsdp", "--model", "base", *QUICK, cwd=job, code=2)
    assert "another run is writing here" in done.stderr.splitlines()[-1]


def test_weights_of_a_deeper_model_are_refused(job: Path) -> None:
    config = json.loads((job / "base" / "config.json").read_text())
    (job / "base" / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
    done = train("fsdp", "--model", "base", *QUICK, cwd=job, code=2)
    assert "belongs to a layer that config.json does not have" in done.stderr.splitlines()[-1]


def test_pickled_weights_are_not_read(job: Path) -> None:
    (job / "base" / "model.safetensors").rename(job / "base" / "pytorch_model.bin")
    done = train("fsdp", "--model", "base", *QUICK, cwd=job, code=2)
    assert "no *.safetensors" in done.stderr.splitlines()[-1]


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = "import sys; sys.argv = ['train', 'fsdp', '--help']\ntry:\n    from caravan.train.cli import main; main()\n"
    code += "except SystemExit: pass\nheavy = {'torch', 'transformers', 'polars', 'numpy'} & set(sys.modules)\n"
    done = subprocess.run([sys.executable, "-c", code + "assert not heavy, heavy"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--max-length" in done.stdout
