"""Preferences: the loss is the paper's formula, however pairs are split; the reference judges once; margins rise."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import madeup_pairs
from caravan.cache import cache_folder
from caravan.errors import UserError
from caravan.train import dpo, model, prepare, spawn
from caravan.train.chat_template import template_for
from caravan.train.config import DPOConfig
from caravan.train.dpo import Dpo, split_pairs
from caravan.train.loader import batch_of, batches
from caravan.train.rows import Rows, read_pairs
from caravan.train.tokens import Tokens, tokenise
from madeup_pairs import ALONE, QUIET, data_of, gradients, louder, objective_of, random_pairs, take
from tiny import tiny_model, tiny_tokenizer

CPU = torch.device("cpu")
FP32 = {"precision": "fp32", "max_length": 128, "seed": 1, "activation_checkpointing": "none"}


def config_of(**more: Any) -> DPOConfig:
    return DPOConfig.model_validate(FP32 | more)


def models(folder: Path, family: str = "llama", tied: bool = False) -> tuple[Path, Path]:
    """A reference and a policy that differ."""
    reference = louder(tiny_model(family, folder / "reference", tied))
    return reference, louder(tiny_model(family, folder / "policy", tied, seed=1))


def plain(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def plain_log_probability(causal: Any, tokens: Tokens, row: int, normalised: bool) -> torch.Tensor:
    """From full logits of the row alone, token by token."""
    piece = slice(tokens.offsets[row], tokens.offsets[row + 1])
    ids, turns = torch.from_numpy(tokens.ids[piece].astype(np.int64)), tokens.turns[piece]
    table = torch.log_softmax(causal(input_ids=ids[None]).logits[0], -1)
    said = [table[at - 1, ids[at]] for at in range(1, len(ids)) if turns[at]]
    return torch.stack(said).sum() / (len(said) if normalised else 1)


def plain_loss(policy: Any, reference: Any, tokens: Tokens, beta: float, normalised: bool) -> torch.Tensor:
    losses = []
    for chosen in range(0, len(tokens), 2):
        ratio = []
        for row in (chosen, chosen + 1):
            with torch.no_grad():
                before = plain_log_probability(reference, tokens, row, normalised)
            ratio.append(plain_log_probability(policy, tokens, row, normalised) - before)
        losses.append(-torch.log(torch.sigmoid(beta * (ratio[0] - ratio[1]))))
    return torch.stack(losses).mean()


@pytest.mark.parametrize(
    ("family", "tied", "normalised", "packing"),
    [
        ("llama", False, False, True),
        ("llama", True, True, True),
        ("llama", True, False, False),
        ("qwen2", False, True, False),
        ("gpt_neox", False, False, True),
        ("gpt2", True, True, True),
    ],
)
def test_loss_and_gradients_are_those_of_the_formula(
    tmp_path: Path, family: str, tied: bool, normalised: bool, packing: bool
) -> None:
    reference, policy = models(tmp_path, family, tied)
    tokens = random_pairs(3, 6)
    config = config_of(beta=2.0 if normalised else 0.1, length_normalised=normalised, packing=packing, batch_size=6)
    objective = objective_of(reference, tokens, config)
    prepare.refer(objective, data_of(tokens), config, reference, ALONE, QUIET)
    model.load_weights(objective.model, policy)
    bins = prepare.order_of(config, tokens, 2, 1).step(0)
    assert (len(bins) == 6) is not packing
    loss, report = take(objective, tokens, bins, 1 / 6)

    wanted = plain(policy)
    expected = plain_loss(wanted, plain(reference), tokens, config.beta, normalised)
    torch.autograd.backward(expected)
    assert abs(expected.item() - math.log(2)) > 0.02  # the two models do differ
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert report["loss"] == pytest.approx(expected.item(), rel=1e-5)
    found, gradient = gradients(objective.model), gradients(wanted)
    assert found.keys() == gradient.keys()
    scale = max(np.abs(g).max() for g in gradient.values())
    for name in gradient:
        np.testing.assert_allclose(found[name], gradient[name], rtol=1e-5, atol=1e-5 * scale, err_msg=name)


def test_figures_are_counted_by_hand(tmp_path: Path) -> None:
    reference, policy = models(tmp_path)
    tokens = random_pairs(5, 7)
    objective = objective_of(reference, tokens, config_of(beta=0.3))
    prepare.refer(objective, data_of(tokens), config_of(), reference, ALONE, QUIET)
    model.load_weights(objective.model, policy)
    _, report = take(objective, tokens, [(0, 1, 2), (), (3, 4, 5, 6)], 1.0)

    with torch.no_grad():
        now, before = (
            np.array([float(plain_log_probability(causal, tokens, row, False)) for row in range(14)]).reshape(-1, 2)
            for causal in (plain(policy), plain(reference))
        )
    reward = 0.3 * (now - before)
    margin = reward[:, 0] - reward[:, 1]
    loss = np.log1p(np.exp(-margin))
    expected = {
        "loss": loss.mean(),
        "accuracy": (margin > 0).mean(),
        "margin": margin.mean(),
        "chosen_reward": reward[:, 0].mean(),
        "rejected_reward": reward[:, 1].mean(),
        "chosen_log_probability": now[:, 0].mean(),
        "rejected_log_probability": now[:, 1].mean(),
    }
    assert {name: report[name] for name in dpo.FIGURES} == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert report["pairs"] == 7
    by_source = {"a": [0, 3, 6], "b": [1, 4], "c": [2, 5]}
    assert report["loss_by_source"] == pytest.approx(
        {s: loss[at].mean() for s, at in by_source.items()}, rel=1e-4, abs=1e-4
    )
    assert report["margin_by_source"] == pytest.approx(
        {s: margin[at].mean() for s, at in by_source.items()}, rel=1e-4, abs=1e-4
    )


def test_any_split_over_bins_gives_the_same_loss_and_gradient(tmp_path: Path) -> None:
    reference, policy = models(tmp_path)
    tokens = random_pairs(4, 5)
    objective = objective_of(reference, tokens, config_of())
    prepare.refer(objective, data_of(tokens), config_of(), reference, ALONE, QUIET)
    model.load_weights(objective.model, policy)
    splits: list[list[tuple[int, ...]]] = [
        [(0, 1, 2, 3, 4)],
        [(4,), (3,), (2,), (1,), (0,)],
        [(2, 0), (), (4, 1, 3), ()],
    ]
    losses, found = [], []
    for bins in splits:
        objective.zero_grad()
        losses.append(take(objective, tokens, bins, 1 / 5)[0])
        found.append(gradients(objective.model))
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-6)
    scale = max(np.abs(g).max() for g in found[0].values())
    for other in found[1:]:
        for name, gradient in found[0].items():
            np.testing.assert_allclose(other[name], gradient, rtol=1e-5, atol=1e-6 * scale)


def test_a_bin_without_pairs_is_zeros_with_a_graph(tmp_path: Path) -> None:
    folder = tiny_model("llama", tmp_path, tied=True)
    tokens = random_pairs(1, 2)
    objective = objective_of(folder, tokens, config_of())
    objective.judge(tokens, np.zeros(4, np.float32))
    outcome = objective(batch_of(tokens, [], CPU), 1.0)
    assert float(outcome.loss.detach()) == float(outcome.sums.abs().sum()) == float(outcome.counts.sum()) == 0
    outcome.loss.backward()
    assert all(not g.any() for g in gradients(objective.model).values())
    assert gradients(objective.model).keys() == dict(objective.model.named_parameters()).keys()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"length_normalised": True, "beta": 5.0},
        {"packing": False},
        {"batch_unit": "bins", "batch_size": 2},
        {"lora_rank": 4},
        {"activation_checkpointing": "full"},
    ],
    ids=str,
)
def test_before_the_first_update_a_pair_costs_log_2_to_the_last_bit(tmp_path: Path, options: dict[str, Any]) -> None:
    folder = louder(tiny_model("llama", tmp_path / "model"))
    tokens = random_pairs(6, 9)
    config = config_of(**{"batch_size": 4} | options)
    objective = objective_of(folder, tokens, config)
    prepare.refer(objective, data_of(tokens), config, folder, ALONE, QUIET)
    order = prepare.order_of(config, tokens, 2, 1)
    bins = [bin_ for step in range(len(order)) for bin_ in order.step(step)]
    assert sum(map(len, bins)) == 9
    for batch in batches(tokens, bins, 2, CPU):
        outcome = objective(batch, 1.0)
        one = torch.tensor(math.log(2), dtype=torch.float32)
        pairs = len(batch.rows) // 2
        assert float(outcome.loss.detach()) == float(one.repeat(pairs).sum())
        assert outcome.loss.requires_grad
        _, accuracy, margin, chosen, rejected, *_ = outcome.sums.view(-1, len(dpo.FIGURES)).sum(0).tolist()
        assert accuracy == margin == chosen == rejected == 0


def test_two_processes_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    reference, policy = models(tmp_path, tied=True)
    config = FP32 | {"nproc": 2, "batch_size": 5, "packing": False}
    options = json.dumps({"config": config, "pairs": {"seed": 8, "pairs": 5}})
    command = [sys.executable, madeup_pairs.__file__, *map(str, (reference, policy, tmp_path / "out"))]
    assert spawn.run([*command, options], DPOConfig.model_validate(config)) == 0
    assert len(list((cache_folder() / "reference").iterdir())) == 2  # one a precision

    tokens = random_pairs(8, 5)
    objective = objective_of(reference, tokens, config_of())
    known = dpo.reference(objective, tokens, [(0, 1, 2, 3, 4)], ALONE, QUIET, model=None, precision="fp32")
    objective.judge(tokens, known)
    model.load_weights(objective.model, policy)
    loss, _ = take(objective, tokens, [(0, 1, 2, 3, 4)], 1 / 5)
    wanted = gradients(objective.model)
    scale = max(np.abs(g).max() for g in wanted.values())
    for precision, close in (("fp32", 1e-5), ("bf16", 3e-2)):
        first, second = (np.load(tmp_path / f"out.{precision}.{rank}.npz") for rank in (0, 1))
        np.testing.assert_array_equal(first["known"], second["known"])
        np.testing.assert_allclose(first["known"], known, rtol=close)
        assert first["margin"] == second["margin"] == 0
        assert first["loss"] == second["loss"] == pytest.approx(loss, rel=close)
        for name, gradient in wanted.items():
            np.testing.assert_allclose(first[name], gradient, rtol=close, atol=close * scale)
            np.testing.assert_array_equal(first[name], second[name])


def test_margins_rise_on_pairs_that_were_held_out(tmp_path: Path) -> None:
    folder = tiny_model("llama", tmp_path / "model")
    tokens, held_out = (random_pairs(seed, pairs, longest=10, apart=True) for seed, pairs in ((10, 32), (11, 16)))
    config = config_of(batch_size=8, epochs=5)
    objective = objective_of(folder, tokens, config)
    prepare.refer(objective, data_of(tokens, held_out), config, folder, ALONE, QUIET)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-2, weight_decay=0)
    order = prepare.order_of(config, tokens, 2, 1)

    def on_held_out() -> dict[str, Any]:
        objective.judge(held_out)
        _, report = take(objective.eval(), held_out, [tuple(range(16))], 1.0)
        objective.zero_grad()
        objective.train().judge(tokens)
        return report

    before = on_held_out()
    for step in range(len(order)):
        take(objective, tokens, order.step(step), 1 / 8)
        optimizer.step()
        optimizer.zero_grad()
    after = on_held_out()
    assert before["margin"] == pytest.approx(0, abs=1e-6)
    assert before["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert after["margin"] > 0.5
    assert after["accuracy"] == 1
    assert after["loss"] < 0.5
    assert after["chosen_reward"] > after["rejected_reward"]


class Counted(Dpo):
    """Counts forwards."""

    forwards = 0

    def score(self, *args: Any) -> Any:
        type(self).forwards += 1
        return super().score(*args)


def judged(folder: Path, tokens: Tokens, **options: Any) -> tuple[int, np.ndarray]:
    """How many forwards the reference took, and what it said."""
    config = config_of(**options)
    objective = objective_of(folder, tokens, config)
    objective.__class__ = Counted
    Counted.forwards = 0
    prepare.refer(objective, data_of(tokens), config, folder, ALONE, QUIET)
    assert objective.training
    assert objective.judged is tokens
    return Counted.forwards, objective.known[tokens.fingerprint]


def test_the_reference_judges_once(tmp_path: Path) -> None:
    folder = tiny_model("llama", tmp_path / "model")
    tokens = random_pairs(12, 4)
    forwards, found = judged(folder, tokens)
    assert forwards > 0
    assert found.dtype == np.float32
    assert (found < 0).all()
    for same in ({}, {"beta": 3.0, "length_normalised": True}, {"lora_rank": 2}, {"seed": 5, "packing": False}):
        forwards, again = judged(folder, tokens, **same)
        assert forwards == 0
        np.testing.assert_array_equal(again, found)


def test_another_model_with_the_same_shapes_is_judged_anew(tmp_path: Path) -> None:
    folder = tiny_model("llama", tmp_path / "model")
    tokens = random_pairs(12, 4)
    _, found = judged(folder, tokens)
    file = folder / "model.safetensors"
    size, tensors = file.stat().st_size, load_file(file)
    tensors["model.norm.weight"][0] += 0.5
    save_file(tensors, file, {"format": "pt"})
    assert file.stat().st_size == size
    forwards, other = judged(folder, tokens)
    assert forwards
    assert (other != found).all()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.1}))
    forwards, third = judged(folder, tokens)
    assert forwards
    assert (other != third).all()


def test_other_tokens_another_precision_and_random_weights_are_judged_anew(tmp_path: Path) -> None:
    folder = tiny_model("llama", tmp_path / "model")
    tokens = random_pairs(12, 4)
    judged(folder, tokens)
    assert judged(folder, replace(tokens, fingerprint="another"))[0]
    objective = objective_of(folder, tokens, config_of())
    bins = [(0, 1, 2, 3)]
    folders = {"model": folder}
    dpo.reference(objective, tokens, bins, ALONE, QUIET, model=folder, precision="bf16")
    cached = sorted((cache_folder() / "reference").iterdir())
    assert len(cached) == 3
    for _ in range(2):
        assert judged(folders["model"], tokens, random_weights=True)[0]
    assert sorted((cache_folder() / "reference").iterdir()) == cached


@pytest.mark.parametrize("left", [0, 40, -8], ids=["empty", "header", "short"])
def test_a_cached_file_that_was_cut_off_is_made_anew(tmp_path: Path, left: int) -> None:
    folder = tiny_model("llama", tmp_path / "model")
    tokens = random_pairs(12, 4)
    _, found = judged(folder, tokens)
    (file,) = (cache_folder() / "reference").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:left])
    forwards, again = judged(folder, tokens)
    assert forwards
    np.testing.assert_array_equal(again, found)
    assert file.read_bytes() == whole
    assert not [name for name in os.listdir(file.parent) if name.endswith(".part")]


def test_a_reference_without_a_finite_number_is_refused_by_row(tmp_path: Path) -> None:
    folder = tiny_model("llama", tmp_path / "model", vocab=64)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["model.embed_tokens.weight"][63] = math.nan
    save_file(tensors, file, {"format": "pt"})
    tokens = random_pairs(13, 3, vocabulary=63)
    tokens = replace(tokens, ids=tokens.ids.copy())
    tokens.ids[tokens.offsets[4]] = 63
    objective = Dpo(model.skeleton(model.read_config(folder)), tokens.sources)
    model.materialise(objective, CPU)
    model.load_weights(objective.model, folder)
    with pytest.raises(UserError) as caught:
        dpo.reference(objective, tokens, [(0,), (1,), (2,)], ALONE, QUIET, model=folder, precision="fp32")
    assert caught.value.where == "row 4"
    assert "1 of 6 answers" in str(caught.value)
    assert not list((cache_folder() / "reference").glob("*.npy"))


def test_bugs_do_not_pass_as_numbers(tmp_path: Path) -> None:
    folder = tiny_model("llama", tmp_path / "model")
    tokens, other = random_pairs(14, 3), random_pairs(15, 3)
    objective = objective_of(folder, tokens, config_of())
    with pytest.raises(RuntimeError, match="before training"):
        objective(batch_of(tokens, [0, 1], CPU), 1.0)
    with pytest.raises(RuntimeError, match="nothing is known"):
        objective.judge(tokens)
    with pytest.raises(ValueError, match="every pair once"):
        dpo.reference(objective, tokens, [(0,), (2,)], ALONE, QUIET, model=None, precision="fp32")
    objective.judge(tokens, np.zeros(6, np.float32))
    with pytest.raises(RuntimeError, match="other tokens"):
        objective(batch_of(other, [0, 1], CPU), 1.0)


def test_each_pair_weighs_the_same(tmp_path: Path) -> None:
    tokens = random_pairs(16, 5)
    objective = Dpo(model.skeleton(model.read_config(tiny_model("llama", tmp_path))), tokens.sources)
    assert objective.weights(tokens).tolist() == [1.0] * 5


def pair_rows(dialogues: Sequence[Sequence[tuple[str, str]]]) -> Rows:
    """A pair after each dialogue."""
    messages = [
        [{"role": role, "content": text} for role, text in (*dialogue, ("assistant", answer))]
        for dialogue in dialogues
        for answer in ("yes", "no")
    ]
    frame = pl.DataFrame(
        {"messages": messages, "row_id": [f"{n}" for n in range(len(messages))]},
        schema_overrides={"messages": pl.List(pl.Struct({"role": pl.String, "content": pl.String}))},
    )
    return Rows(Path("pairs.parquet"), frame, "hash", None)


@given(
    st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3), min_size=1, max_size=20),
    st.floats(0, 1),
    st.integers(0, 9),
)
def test_no_question_is_on_both_sides_and_no_pair_is_lost(asked: list[list[str]], share: float, seed: int) -> None:
    dialogues = [[("system", "x"), *(t for q in turns for t in (("user", q), ("assistant", "-")))] for turns in asked]
    rows = pair_rows([dialogue[:-1] for dialogue in dialogues])
    train, held_out = split_pairs(rows, share, seed)
    assert train.path == held_out.path == rows.path
    sides = [
        {row: m[1]["content"] for row, m in side.frame["row_id", "messages"].iter_rows()} for side in (train, held_out)
    ]
    assert not set(sides[0].values()) & set(sides[1].values())
    assert sorted(map(int, [*sides[0], *sides[1]])) == list(range(2 * len(asked)))
    for side in sides:
        order = list(map(int, side))
        assert order == sorted(order)
        assert all(a % 2 == 0 and b == a + 1 for a, b in zip(order[::2], order[1::2], strict=True))
    for once, again in zip((train, held_out), split_pairs(rows, share, seed), strict=True):
        assert once.frame.equals(again.frame)
        assert once.content_hash == again.content_hash


def test_about_the_share_is_held_out_and_stays_so_when_pairs_are_added() -> None:
    dialogues = [[("user", f"question {n}")] for n in range(2000)]
    train, held_out = split_pairs(pair_rows(dialogues), 0.1, seed=4)
    assert 150 <= held_out.frame.height / 2 <= 250
    assert len({train.content_hash, held_out.content_hash, "hash"}) == 3
    _, fewer = split_pairs(pair_rows(dialogues[:1000]), 0.1, seed=4)
    assert fewer.frame["messages"].to_list() == held_out.frame["messages"].to_list()[: fewer.frame.height]
    _, reseeded = split_pairs(pair_rows(dialogues), 0.1, seed=5)
    assert not reseeded.frame.equals(held_out.frame)
    for share, height in ((0.0, 0), (1.0, 4000)):
        assert split_pairs(pair_rows(dialogues), share, seed=4)[1].frame.height == height


def test_a_pair_without_a_question_goes_by_its_first_message() -> None:
    rows = pair_rows([[("system", "be brief")], [("system", "be long")]])
    train, held_out = split_pairs(rows, 0.5, seed=0)
    assert train.frame.height + held_out.frame.height == 4


def converted(file: Path, out: Path) -> str:
    """A raw file as preferences, by the command."""
    command = [str(Path(sys.executable).with_name("curate")), "convert", str(file), "-o", str(out), "--workers", "1"]
    subprocess.run(command, check=True, capture_output=True)
    return str(out)


@pytest.mark.real
def test_margins_rise_on_real_pairs_that_were_held_out(real_data: Path, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(tmp_path / "model")
    folder = tiny_model("llama", tmp_path / "model", vocab=len(tokenizer))
    file = converted(real_data / "prefs" / "llamafactory" / "dpo_en_demo.json", tmp_path / "prefs.parquet")
    parts = split_pairs(read_pairs(file, QUIET), 0.25, seed=0)
    sides = [
        {next(m["content"] for m in messages if m["role"] == "user") for messages in part.frame["messages"]}
        for part in parts
    ]
    assert not sides[0] & sides[1]
    template = template_for("tulu", tokenizer)
    tokens, held_out = (tokenise(part, tokenizer, template, 256, QUIET, group=2) for part in parts)
    assert len(tokens) > 100
    assert len(held_out) > 20

    config = config_of(max_length=256, batch_size=16, epochs=3)
    objective = objective_of(folder, tokens, config)
    prepare.refer(objective, data_of(tokens, held_out), config, folder, ALONE, QUIET)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=3e-3, weight_decay=0)
    order = prepare.order_of(config, tokens, 2, 1)
    for step in range(len(order)):
        _, report = take(objective, tokens, order.step(step), 1 / 16)
        if not step:
            assert report["margin"] == report["accuracy"] == 0
        optimizer.step()
        optimizer.zero_grad()
    objective.judge(held_out)
    _, after = take(objective, held_out, [(pair,) for pair in range(len(held_out) // 2)], 1.0)
    assert after["pairs"] == len(held_out) // 2
    assert after["margin"] > 0
    assert after["accuracy"] > 0.5


@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "pairs"),
    [("llamafactory/v1_dpo_demo.jsonl", 10), ("medicalgpt/toolcall_dpo_zh_demo.jsonl", 11)],
)
def test_a_run_reads_real_pairs_and_begins_at_log_2(real_data: Path, tmp_path: Path, file: str, pairs: int) -> None:
    tokenizer = tiny_tokenizer(tmp_path / "model")
    folder = tiny_model("gpt2", tmp_path / "model", vocab=len(tokenizer))
    data = converted(real_data / "prefs" / file, tmp_path / "prefs.parquet")
    config = config_of(data=data, max_length=200, batch_size=4)
    read = prepare.read_data(config, folder, QUIET)
    assert read.rows.frame.height == 2 * pairs
    assert 0 < len(read.tokens) <= 2 * pairs
    assert read.tokens.row[1::2].tolist() == (read.tokens.row[::2] + 1).tolist()
    objective = objective_of(folder, read.tokens, config)
    prepare.refer(objective, read, config, folder, ALONE, QUIET)
    _, report = take(objective, read.tokens, prepare.order_of(config, read.tokens, 2, 1).step(0), 1.0)
    assert report["margin"] == 0
    assert report["loss"] == pytest.approx(math.log(2), rel=1e-7)
