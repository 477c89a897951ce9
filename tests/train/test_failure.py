"""A loss that is not finite stops the run before the weights are touched, and the row that did it is named."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from safetensors.torch import load_file, save_file

from caravan.errors import UserError
from caravan.terminal import Progress
from caravan.train import loop
from caravan.train.config import TrainConfig
from caravan.train.fit import fit
from caravan.train.replay import replay
from conversations import write_conversations
from tiny import tiny_model, tiny_tokenizer

QUIET = Progress(quiet=True)


@pytest.fixture
def job(tmp_path: Path) -> TrainConfig:
    """Sixteen conversations, one of them with a word whose embedding is broken: 3e38 overflows in the first block."""
    tokenizer = tiny_tokenizer(tmp_path / "base")
    tiny_model("llama", tmp_path / "base")
    broken = tokenizer.encode("€", add_special_tokens=False)[-1]
    weights = load_file(tmp_path / "base" / "model.safetensors")
    weights["model.embed_tokens.weight"][broken] = float("inf")
    save_file(weights, tmp_path / "base" / "model.safetensors", metadata={"format": "pt"})
    rows = pl.read_parquet(write_conversations(tmp_path / "rows.parquet", 16)).to_dicts()
    rows[11]["messages"][-1]["content"] += " That is 20 €."
    pl.DataFrame(rows).write_parquet(tmp_path / "rows.parquet")
    options: dict[str, Any] = {"precision": "fp32", "activation_checkpointing": "none", "max_length": 512, "epochs": 1}
    return TrainConfig(
        data=str(tmp_path / "rows.parquet"),
        model=str(tmp_path / "base"),
        out=str(tmp_path / "run"),
        batch_size=4,
        **options,
    )


def test_the_row_is_named_and_found_again(job: TrainConfig) -> None:
    with pytest.raises(UserError, match="the loss is not finite on rank 0") as caught:
        fit(job)
    run = Path(job.out)
    failed = json.loads((run / "failed.json").read_text())
    named = [row for entry in failed["bins"] for row in entry["row_ids"]]
    assert "row-11" in named
    assert "train replay" in str(caught.value)
    steps = [path.name for path in (run / "checkpoints").iterdir()]
    assert steps == [f"step-{failed['step'] - 1}"]
    found = replay(run, QUIET)
    assert [item.row_ids for item in found if not item.finite] == [["row-11"]]
    assert [row for item in found for row in item.row_ids] == named
    assert not (run / "model").exists()


def test_the_weights_before_the_step_are_those_that_were_saved(job: TrainConfig, tmp_path: Path) -> None:
    """The run can go on from them once the row is gone: the same order of steps, the log without the failed one."""
    with pytest.raises(UserError):
        fit(job)
    lines = (Path(job.out) / "metrics.jsonl").read_text().splitlines()
    failed = json.loads((Path(job.out) / "failed.json").read_text())["step"]
    assert [json.loads(line)["step"] for line in lines] == list(range(1, failed))


def test_a_run_that_did_not_fail_cannot_be_replayed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no step of it failed"):
        replay(tmp_path, QUIET)
    (tmp_path / "failed.json").write_text('{"step": "x"}')
    with pytest.raises(UserError, match="not what a failed run writes"):
        replay(tmp_path, QUIET)


def test_a_gradient_that_is_not_finite_is_found_again_too(job: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every loss is finite, and yet: all rows of the step are named, as any of them may have done it."""
    base = Path(job.model)
    tiny_model("llama", base)  # sound weights
    grad = loop.clip

    def broken(objective: Any, largest: float) -> float:
        grad(objective, largest)
        return float("nan")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "clip", broken)
        with pytest.raises(UserError, match="the gradient is not finite"):
            fit(job)
    failed = json.loads((Path(job.out) / "failed.json").read_text())
    assert sum(len(entry["rows"]) for entry in failed["bins"]) == 4
    assert all(item.finite for item in replay(Path(job.out), QUIET))
    assert fit(job).steps == 4  # what stopped it is gone: the same command goes on
    assert not (Path(job.out) / "failed.json").exists()
