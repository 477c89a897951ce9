"""The planner: verdicts, the largest micro-batch, changes that fit when they are made, and a run's own check."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, PretrainedConfig

from caravan.errors import UserError
from caravan.train import closed_form, cost, machine
from caravan.train.config import TrainConfig
from caravan.train.need import Setting, closed_phases, need
from caravan.train.plan import Plan, as_json, check_fits, plan, show_plan
from caravan.train.shapes import shape
from caravan.train.trace import trace_scaled

GIB = 2**30
SMALL: PretrainedConfig = AutoConfig.for_model(
    "llama", hidden_size=1024, intermediate_size=2816, num_hidden_layers=3, num_attention_heads=16, vocab_size=32000
)


def configured(**options: Any) -> TrainConfig:
    return TrainConfig.model_validate({"model": "small", "max_length": 512} | options)


def small(gpus: int, **options: Any) -> Plan:
    return plan(configured(**options), gpus=gpus, config=SMALL)


def needed_gib(run: TrainConfig, gpus: int) -> float:
    """GiB of a GPU, traced."""
    phases = trace_scaled(SMALL, run, gpus, accumulates=True)
    return need(phases, Setting("small", SMALL, run, gpus), closed_form.sizes(SMALL, run)).total / GIB


def test_llama_7b_on_8_gpus() -> None:
    """The command of the front page, in seconds."""
    found = plan(TrainConfig(model="llama-7b", gpu_memory=80), gpus=8, price=2.0)

    assert found.fits
    assert found.changes == []
    assert found.parameters == found.trained == 6_738_415_616
    allocated = found.need.parts.total
    assert allocated / GIB == pytest.approx(15.9, abs=0.3)
    assert found.closed_form.total == pytest.approx(allocated, rel=0.02)
    assert found.need.total == pytest.approx(allocated * 1.08 + 1.6 * GIB)
    assert found.need.when == "in the backward of block 31 of 32"
    assert 40 < found.largest_micro_batch < 80
    assert [speed.gpu for speed in found.speeds] == ["A100 80GB", "H100 SXM", "H100 PCIe"]
    a100 = found.speeds[0]
    operations = 6 * 6_738_415_616 + 6 * 32 * 4096 * 2048
    assert a100.tokens_per_second_per_gpu == pytest.approx(0.45 * 312e12 / operations)
    assert a100.gpu_hours == pytest.approx(100e6 / a100.tokens_per_second_per_gpu / 3600)
    assert a100.hours == pytest.approx(a100.gpu_hours / 8)
    assert a100.cost == pytest.approx(2 * a100.gpu_hours)


def test_the_largest_micro_batch_fits_and_one_more_does_not() -> None:
    largest = small(2, gpu_memory=4).largest_micro_batch
    assert largest > 4

    at, over = (needed_gib(configured(micro_batch_size=size), 2) for size in (largest, largest + 1))

    assert at <= 4 < over


def with_flags(flags: str, run: TrainConfig, gpus: int) -> float:
    """GiB of a GPU for a run that is given these flags, as a person would."""
    update: dict[str, Any] = {}
    for flag, value in re.findall(r"--([a-z-]+)(?: ([^-\s]\S*))?", flags):
        if flag == "gpus":
            gpus = int(value)
        else:
            update[flag.replace("-", "_")] = value or True
    return needed_gib(TrainConfig.model_validate(run.model_dump() | update), gpus)


@pytest.mark.parametrize(
    ("gpus", "options", "first"),
    [
        (1, {"gpu_memory": 2.5}, "--gpus"),
        (2, {"gpu_memory": 3.5, "activation_checkpointing": "none", "micro_batch_size": 16}, "--activation"),
    ],
)
def test_every_change_fits_when_it_is_made(gpus: int, options: dict[str, Any], first: str) -> None:
    run = configured(**options)

    found = plan(run, gpus=gpus, config=SMALL)

    assert not found.fits
    assert found.changes[0].flags.startswith(first)
    assert len(found.changes) == 3
    assert len({change.flags for change in found.changes}) == 3
    for change in found.changes:
        assert with_flags(change.flags, run, gpus) == pytest.approx(change.gib)
        assert change.gib <= found.gpu_memory


def test_offloading_moves_what_is_kept_to_cpu_memory() -> None:
    here, offloaded = small(2), small(2, cpu_offload=True)

    total = 16 * here.parameters / 2
    assert offloaded.need.host == pytest.approx(total, rel=0.01)
    assert offloaded.need.parts.parameters == offloaded.need.parts.gradients == offloaded.need.parts.optimizer == 0
    assert here.need.host == 0
    assert offloaded.need.parts.total < here.need.parts.total - 0.9 * total
    assert offloaded.speeds == []


def test_adapters_need_no_state_for_what_is_frozen() -> None:
    whole, adapters = small(1), small(1, lora_rank=8)

    assert adapters.trained < 0.05 * adapters.parameters
    assert adapters.need.parts.optimizer < 0.05 * whole.need.parts.optimizer
    assert adapters.need.parts.parameters == pytest.approx(4 * adapters.parameters, rel=0.01)


def test_more_gpus_never_need_more_of_each() -> None:
    for name in ("llama-3-8b", "opt-13b"):
        config, run = shape(name), TrainConfig()
        size = closed_form.sizes(config, run)
        settings = [Setting(name, config, run, 2**power) for power in range(1, 7)]
        needed = [need(closed_phases(setting), setting, size).total for setting in settings]
        assert needed == sorted(needed, reverse=True)


def test_time_and_cost_are_the_whole_runs_where_the_mixture_is_known() -> None:
    found = plan(configured(epochs=2), gpus=4, config=SMALL, gpu="h200", price=3.5, examples=10_000, mean_length=400.0)

    assert found.whole_run
    assert found.tokens == 2 * 10_000 * 400
    assert found.step_tokens == 128 * 400
    assert found.gpu_memory == 141
    (speed,) = found.speeds
    assert speed.gpu == "H200"
    seconds = found.tokens / speed.tokens_per_second_per_gpu / 4
    assert speed.hours == pytest.approx(seconds / 3600)
    assert speed.cost == pytest.approx(seconds / 3600 * 4 * 3.5)
    assert speed.step_seconds == pytest.approx(128 * 400 / speed.tokens_per_second_per_gpu / 4)


def test_every_card_has_a_known_peak() -> None:
    size = closed_form.sizes(SMALL, TrainConfig())

    found = cost.speeds(size, TrainConfig(), 8, cost.CARDS, price=None, tokens=1e9, mean_length=None)

    assert [speed.gpu for speed in found] == list(cost.CARDS)
    assert all(speed.cost is None for speed in found)
    unchecked = TrainConfig(activation_checkpointing="none")
    faster = cost.speeds(size, unchecked, 8, cost.CARDS, price=None, tokens=1e9, mean_length=None)
    assert all(fast.hours < slow.hours for fast, slow in zip(faster, found, strict=True))


@pytest.mark.parametrize(
    ("gpu", "memory", "names"),
    [
        (None, 80, ["A100 80GB", "H100 SXM", "H100 PCIe"]),
        (None, 48, ["L40S", "RTX A6000"]),
        (None, 12, ["A100 80GB", "H100 SXM"]),
        ("A100", 80, ["A100 80GB"]),
        ("a100 40gb", 80, ["A100 40GB"]),
        ("h100", 80, ["H100 SXM", "H100 PCIe"]),
        ("H200", 80, ["H200"]),
    ],
)
def test_cards_are_found_by_memory_and_by_name(gpu: str | None, memory: float, names: list[str]) -> None:
    assert list(cost.cards(gpu, memory)) == names


def test_what_cannot_be_planned_is_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'H100 SXM'"):
        plan(TrainConfig(model="llama-7b"), gpus=8, gpu="H100 SMX")
    with pytest.raises(UserError, match="8 GPUs do not make 3 equal replicas"):
        plan(TrainConfig(model="llama-7b", replicas=3), gpus=8)
    with pytest.raises(UserError, match="did you mean 'llama-7b'"):
        plan(TrainConfig(model="lama-7b"), gpus=8)


def test_the_plan_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show_plan(small(8, gpu_memory=1.5))

    shown = capsys.readouterr().out
    assert re.search(r"^small: 0\.10 billion parameters$", shown, re.MULTILINE)
    assert re.search(
        r"^does not fit: [\d.]+ of 1\.5 GiB on each of 8 GPUs, at the peak in the loss$", shown, re.MULTILINE
    )
    for line in ("parameters: fp32 masters", "allocated", "CUDA context", "NCCL buffers", "needed"):
        assert re.search(rf"^ {line} +\d+\.\d\d ", shown, re.MULTILINE), line
    assert "No micro-batch fits, not even 1 x 512 tokens" in shown
    assert "MFU assumed" in shown
    assert max(map(len, shown.splitlines())) <= 130


def test_the_plan_as_json_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    found = small(8, gpu_memory=40)
    show_plan(found, json_=True)

    read = json.loads(capsys.readouterr().out)
    assert read == json.loads(json.dumps(as_json(found)))
    assert sum(read["memory_gib"].values()) == pytest.approx(read["needed_gib"])
    assert sum(read["closed_form_gib"].values()) == pytest.approx(read["allocated_gib"], rel=0.05)
    assert read["fits"] is True
    assert read["largest_micro_batch"] == found.largest_micro_batch


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process that nothing started, and whose hub is out of reach."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "SLURM_STEP_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))


@pytest.mark.usefixtures("alone")
def test_llama_7b_is_refused_on_a_small_machine_before_any_download() -> None:
    """The default of `train fsdp`, with the plan's figures and three ways out."""
    with pytest.raises(UserError) as refused:
        check_fits(TrainConfig(gpu_memory=24))

    text = str(refused.value)
    assert text.startswith("huggyllama/llama-7b: this run needs ")
    needed = float(re.search(r"needs ([\d.]+) GiB", text)[1])  # type: ignore[index]
    assert 100 < needed < 120
    assert "optimizer 50.2" in text
    assert len(refused.value.fix.split(", or ")) == 3
    assert "\n" not in text


@pytest.mark.usefixtures("alone")
def test_a_run_that_fits_is_told_its_peak() -> None:
    run = TrainConfig(model="pythia-70m", gpu_memory=24, precision="fp32", max_length=256)

    found = check_fits(run)

    assert 16 * 70_426_624 / GIB < found < 16 * 70_426_624 / GIB * 1.6 + 0.6


@pytest.mark.usefixtures("alone")
def test_processes_of_a_machine_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    run = TrainConfig(model="pythia-160m", gpu_memory=4.5, precision="fp32", max_length=128)
    alone = check_fits(run)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29500")

    with pytest.raises(UserError, match=r"4\.5 GiB are free here"):
        check_fits(run)
    four = check_fits(run.model_copy(update={"gpu_memory": 8.0}))

    assert 0.25 * alone < four < 0.75 * alone  # each holds a quarter, and whole copies for a time


def test_free_memory_is_that_of_the_machine_and_within_a_container(tmp_path: Path) -> None:
    info, groups = tmp_path / "meminfo", tmp_path / "cgroup"
    info.write_text("MemTotal:       32000000 kB\nMemAvailable:   16777216 kB\n")
    assert machine.cpu_memory(info, groups) == 16

    groups.mkdir()
    (groups / "memory.max").write_text("max\n")
    (groups / "memory.current").write_text(f"{6 * GIB}\n")
    (groups / "memory.stat").write_text(f"anon {2 * GIB}\ninactive_file {4 * GIB}\n")
    assert machine.cpu_memory(info, groups) == 16
    (groups / "memory.max").write_text(f"{10 * GIB}\n")
    assert machine.cpu_memory(info, groups) == 8
    (groups / "memory.max").write_text(f"{1 * GIB}\n")
    assert machine.cpu_memory(info, groups) == 0

    if sys.platform != "win32":
        assert machine.cpu_memory(tmp_path / "none", tmp_path / "none") > 0
    assert 0 < machine.cpu_memory() < 100_000
