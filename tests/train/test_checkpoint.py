"""Checkpoints: a kill at any moment leaves the last whole one; any number of processes reads it; no other run does."""

import json
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from caravan.errors import UserError
from caravan.train.checkpoint import Checkpoints, check_identity, steps
from caravan.train.launch import World
from checkpoint_tasks import IDENTITY, Run
from ranks import Ranks
from tiny import tiny_model

ALONE = World(0, 1, 0, 1, 1, torch.device("cpu"), None, None)


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    with Ranks("checkpoint_tasks") as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_model("llama", tmp_path / "model", tied=True)
    return tmp_path


def saved(folder: Path, step: int, run: Run | None = None) -> Run:
    """A run of one process that has saved this step."""
    run = run or Run(ALONE, folder)
    run.train(step)
    run.checkpoints.save(step, run.objective, run.optimizer)
    run.checkpoints.wait()
    return run


def test_killed_while_saving_ten_times(ranks: Ranks, folder: Path) -> None:
    moments = random.Random(4)
    reached = 0
    for _ in range(10):
        ranks.run("save_for_ever", 2, folder, kill_after=moments.uniform(0, 0.3))
        there = steps(folder / "checkpoints")
        assert max(there) > reached
        assert len(there) <= 3  # two, and a third between its rename and the removal of the first
        reached = max(there)
        notes = [json.loads(line) for line in (folder / "noted.jsonl").read_text().splitlines()]
        assert reached in {note.get("saved") for note in notes}
    saved = {note["saved"]: note["digest"] for note in notes if "saved" in note}
    loaded = {note["loaded"]: note["digest"] for note in notes if note.get("loaded")}
    assert len(loaded) == 9
    assert loaded.items() <= saved.items()
    last = ranks.run("resume", 1, folder)
    assert last == [{"step": reached, "loaded": saved[reached], "saved": saved[reached]}]
    assert not list((folder / "checkpoints").glob(".*"))


@pytest.mark.parametrize(
    "config",
    [{}, {"lora_rank": 2}, {"precision": "bf16", "cpu_offload": True}],
    ids=["full", "adapters of two rows", "bf16 on the CPU"],
)
def test_another_number_of_processes_reads_the_same(ranks: Ranks, folder: Path, config: dict[str, Any]) -> None:
    before = ranks.run("resume", 2, folder, config=config, more=2)
    assert before[0]["step"] == 0
    step, last = 2, before[0]["saved"]
    for size in (1, 3, 2):
        found = ranks.run("resume", size, folder, config=config, more=1)
        assert [(f["step"], f["loaded"]) for f in found] == [(step, last)] * size
        step, last = step + 1, found[0]["saved"]


def test_one_plain_process_goes_on_in_the_same_bits(folder: Path) -> None:
    straight = Run(ALONE, folder)
    for step in range(4):
        straight.train(step)
        if step == 1:
            straight.checkpoints.save(2, straight.objective, straight.optimizer)
    straight.checkpoints.wait()
    again = Run(ALONE, folder)
    assert again.first == 2
    for step in (2, 3):
        again.train(step)
    assert again.digest() == straight.digest()


def test_what_is_saved_is_the_state_at_the_call(folder: Path) -> None:
    run = Run(ALONE, folder)
    run.train(0)
    told = run.digest()
    run.checkpoints.save(1, run.objective, run.optimizer)
    with torch.no_grad():
        for parameter in run.objective.parameters():
            parameter.fill_(7.0)
            run.optimizer.state[parameter]["exp_avg"].fill_(7.0)
    run.checkpoints.save(2, run.objective, run.optimizer)  # waits for the first
    assert 1 in steps(folder / "checkpoints")
    run.checkpoints.wait()
    (folder / "checkpoints" / "step-2").rename(folder / "later")
    assert Run(ALONE, folder).digest() == told


def test_a_forward_without_backward_does_no_harm(ranks: Ranks, folder: Path) -> None:
    """After it parameters are whole; the state that is saved is that of the shards."""
    found = ranks.run("after_a_look", 2, folder)
    assert found[0]["before"] == found[0]["after"] == found[1]["after"]


def test_the_newest_stay_and_leavings_go(folder: Path) -> None:
    left = folder / "checkpoints" / ".step-9.tmp"
    left.mkdir(parents=True)
    (left / "__0_0.distcp").write_bytes(b"half")
    run = saved(folder, 1)
    assert not left.exists()
    for step in (2, 3, 4, 4):
        saved(folder, step, run)
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["step-3", "step-4"]
    record = json.loads((folder / "checkpoints" / "step-4" / "run.json").read_text())
    assert record["step"] == 4
    assert record["world_size"] == 1
    assert record["identity"] == IDENTITY


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ({"lr": 0.02}, "of another run: lr was 0.01, now 0.02; start anew"),
        (
            {"mixture": "c" * 64, "tokens": "d" * 32},
            f"it began with another mixture (content {'a' * 12}, now {'c' * 12});",
        ),
        ({"tokens": "d" * 32, "new": None}, f"of another run: tokens was {'b' * 12}, now {'d' * 12}; start"),
        ({"beta": 0.1, "lr": None}, "lr was 0.01, now not set; beta was not set, now 0.1; start"),
    ],
)
def test_another_run_is_refused(folder: Path, now: dict[str, Any], told: str) -> None:
    saved(folder, 1)
    path = folder / "checkpoints" / "step-1"
    check_identity(path, IDENTITY, ALONE, fix="start anew")
    with pytest.raises(UserError) as refused:
        check_identity(path, IDENTITY | now, ALONE, fix="start anew")
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
    run = Run(ALONE, folder)
    other = Checkpoints(folder / "checkpoints", 2, ALONE, IDENTITY | now)
    with pytest.raises(UserError, match="name another --out"):
        other.resume(run.objective, run.optimizer)


def test_a_full_disk_is_told_on_every_rank_and_older_checkpoints_stay(ranks: Ranks, tmp_path: Path) -> None:
    tiny_model(
        "llama", tmp_path / "model", vocab=4000
    )  # tensors over the size at which torch's own error hides the disk's
    found = ranks.run("disk_full", 2, tmp_path)
    for rank in found:
        kind, text = rank["told"]
        assert kind == "UserError"
        assert text.startswith(f"{tmp_path}/checkpoints/step-2: File too large (rank 1); free some space")
        assert rank["left"] == ["step-1"]
    assert ranks.run("resume", 1, tmp_path)[0]["step"] == 1


def test_folders_that_nodes_do_not_share_are_refused_at_the_start(ranks: Ranks, tmp_path: Path) -> None:
    told = [found["error"] for found in ranks.run("apart", 2, tmp_path)]
    assert told[0] == told[1]
    assert "not the same folder on every node" in told[0]


def test_a_folder_that_cannot_be_made_is_told(folder: Path) -> None:
    (folder / "run").write_text("a file")
    with pytest.raises(UserError, match=r"run.*name another --out"):
        Checkpoints(folder / "run" / "checkpoints", 2, ALONE, IDENTITY)


class Planted:
    """Runs code when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self.path, "w"))


@pytest.mark.parametrize(
    "how", ["shard cut", "shard gone", "no metadata", "metadata cut", "planted", "no record", "no JSON"]
)
def test_a_damaged_checkpoint_is_told(folder: Path, how: str) -> None:
    saved(folder, 1)
    path = folder / "checkpoints" / "step-1"
    shard, metadata, record = path / "__0_0.distcp", path / ".metadata", path / "run.json"
    if how == "shard cut":
        shard.write_bytes(shard.read_bytes()[:1000])
    if how == "metadata cut":
        metadata.write_bytes(metadata.read_bytes()[:1000])
    if how == "planted":
        metadata.write_bytes(pickle.dumps(Planted(str(folder / "code ran"))))
    if how == "no JSON":
        record.write_text("{")
    for name, file in (("shard gone", shard), ("no metadata", metadata), ("no record", record)):
        if how == name:
            file.unlink()
    with pytest.raises(UserError, match=r"step-1: the checkpoint cannot be read: .*; remove it"):
        Run(ALONE, folder)
    assert not (folder / "code ran").exists()


def test_one_of_a_later_format_says_which_version_wrote_it(folder: Path) -> None:
    saved(folder, 1)
    path = folder / "checkpoints" / "step-1" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2, "caravan": "9.9"}))
    with pytest.raises(UserError, match=r"format 2.*go on with caravan 9\.9"):
        Run(ALONE, folder)
