"""A tiny model learns 32 conversations by heart, and greedy decoding says so; preferences raise the margin."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from caravan.curate.single import convert
from caravan.train.config import DPOConfig, TrainConfig
from caravan.train.fit import Trained, fit
from conversations import write_conversations
from rawrows import sentence
from tiny import tiny_model, tiny_tokenizer

PLAIN: dict[str, Any] = {"precision": "fp32", "activation_checkpointing": "none", "save_every": 0, "eval_every": 10**6}


def learn(folder: Path, rows: Path, **options: Any) -> Trained:
    tiny_tokenizer(folder / "base")
    tiny_model("llama", folder / "base", tied=True, hidden=96)
    told = {"batch_size": 8, "lr": 6e-3, "epochs": 70, "max_length": 512, **PLAIN, **options}
    return fit(TrainConfig(data=str(rows), model=str(folder / "base"), out=str(folder / "run"), **told))


def decoded(folder: Path, messages: list[dict[str, str]]) -> tuple[str, str]:
    """What the exported model says after the conversation's last question, and what stands in the data."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    asked = tokenizer.apply_chat_template(
        messages[:-1], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    said = model.generate(**asked, do_sample=False, max_new_tokens=128)[0, asked["input_ids"].shape[1] :]
    assert said[-1] == tokenizer.eos_token_id  # it has learned to stop, and generation stops there
    return tokenizer.decode(said, skip_special_tokens=True), messages[-1]["content"]


def check_learned(trained: Trained, rows: Path) -> None:
    assert trained.model is not None
    lines = [json.loads(line) for line in (trained.folder / "metrics.jsonl").read_text().splitlines()]
    first, last = lines[0]["loss_by_source"], lines[-1]["loss_by_source"]
    assert first.keys() == last.keys()
    assert all(last[source] < 0.1 * first[source] for source in first)
    assert trained.figures["eval"]["training_sample"]["reproduced"] == 1.0
    for messages in pl.read_parquet(rows)["messages"].to_list()[::4]:
        said, meant = decoded(trained.model, messages)
        assert said == meant


def test_a_tiny_model_learns_conversations_by_heart(tmp_path: Path) -> None:
    rows = write_conversations(tmp_path / "rows.parquet", 32)
    check_learned(learn(tmp_path, rows), rows)


@pytest.mark.real
def test_a_tiny_model_learns_real_conversations_by_heart(tmp_path: Path, real_data: Path) -> None:
    found = convert(real_data / "alpaca" / "llamafactory_alpaca_en_demo.json").frame
    length = pl.col("messages").list.eval(pl.element().struct.field("content").str.len_bytes()).list.sum()
    short = found.filter(length < 300)
    short.head(32).write_parquet(tmp_path / "rows.parquet")
    check_learned(learn(tmp_path, tmp_path / "rows.parquet", max_length=512, epochs=100), tmp_path / "rows.parquet")


def test_what_was_not_learned_is_not_reproduced(tmp_path: Path) -> None:
    """Held-out answers, of which the model knows nothing, do not come back word for word."""
    rows = write_conversations(tmp_path / "rows.parquet", 32)
    other = write_conversations(tmp_path / "other.parquet", 16, first=100)
    found = learn(tmp_path, rows, validation=str(other), epochs=1).figures["eval"]
    assert found["validation"]["reproduced"] == 0.0
    assert found["validation"]["loss"] > 1


def test_preferences_raise_the_margin_on_held_out_pairs(tmp_path: Path) -> None:
    """Preferred answers end politely: a rule that carries over to pairs that were never seen."""
    pairs = [
        {
            "prompt": [{"role": "user", "content": sentence(n, 5)}],
            "chosen": [{"role": "assistant", "content": f"{sentence(n + 500, 4)} Thank you for asking."}],
            "rejected": [{"role": "assistant", "content": f"{sentence(n + 900, 4)} Nobody knows for certain."}],
        }
        for n in range(48)
    ]
    pl.DataFrame(pairs).write_parquet(tmp_path / "prefs.parquet")
    tiny_tokenizer(tmp_path / "base")
    tiny_model("llama", tmp_path / "base", tied=True)
    trained = fit(
        DPOConfig(
            data=str(tmp_path / "prefs.parquet"), model=str(tmp_path / "base"), out=str(tmp_path / "run"), epochs=4,
            batch_size=8, lr=1e-3, validation_share=0.25, max_length=128, **PLAIN,
        )
    )  # fmt: skip
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["loss"] == pytest.approx(0.6931472, abs=1e-6)  # nothing moved yet: log 2
    held_out = trained.figures["eval"]["validation"]
    assert held_out["pairs"] >= 5
    assert held_out["margin"] > 0.1
    assert held_out["accuracy"] == 1.0
    assert (tmp_path / "run" / "loss.svg").exists()
