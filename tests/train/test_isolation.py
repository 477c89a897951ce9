"""Conversations in one bin do not see each other: not one bit moves."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from caravan.errors import UserError
from caravan.train import model, shard
from caravan.train.attention import NAME, register
from caravan.train.config import TrainConfig
from caravan.train.loader import batch_of
from caravan.train.objective import Sft
from caravan.train.probe import probe
from madeup import random_tokens, tokens_of
from tiny import FAMILIES, tiny_model

CPU = torch.device("cpu")
PLAIN = TrainConfig(precision="fp32", activation_checkpointing="none")


def stock_of(config: Any) -> Any:
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]


def objective_of(folder: Path, config: TrainConfig = PLAIN) -> Sft:
    causal = model.skeleton(model.read_config(folder))
    objective = Sft(causal, ["a"])
    shard.prepare(objective, config, None)
    model.materialise(objective, CPU)
    model.load_weights(causal, folder)
    return objective


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_change_in_one_conversation_moves_no_other(family: str, training: bool, tmp_path: Path) -> None:
    objective = objective_of(tiny_model(family, tmp_path)).train(training)
    tokens = random_tokens(1, 4, 400)
    before = objective(batch_of(tokens, [0, 1, 2, 3], CPU), None)[0]
    changed = tokens.ids.copy()
    changed[tokens.offsets[1] : tokens.offsets[2]] = (changed[tokens.offsets[1] : tokens.offsets[2]] + 7) % 400
    after = objective(batch_of(tokens_with(tokens, changed), [0, 1, 2, 3], CPU), None)[0]
    own = slice(int(tokens.offsets[1]), int(tokens.offsets[2]))
    assert not torch.equal(before[own], after[own])
    others = torch.cat([before[: own.start] - after[: own.start], before[own.stop :] - after[own.stop :]])
    assert float(others.detach().abs().max()) == 0.0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_conversation_is_computed_as_if_it_were_alone(family: str, tmp_path: Path) -> None:
    """Against the stock model, one conversation at a time: positions, masks and the cache are right."""
    objective = objective_of(tiny_model(family, tmp_path)).train()
    stock = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).train()
    tokens = random_tokens(2, 5, 400)
    _, _, logits = objective(batch_of(tokens, range(5), CPU), None)
    for row in range(5):
        piece = slice(int(tokens.offsets[row]), int(tokens.offsets[row + 1]))
        alone = stock(torch.from_numpy(tokens.ids[piece].astype("int64"))[None]).logits[0]
        torch.testing.assert_close(logits[piece], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_segments_hold_with_the_models_own_cache_switched_on(family: str, tmp_path: Path) -> None:
    """The trap of relying on positions: a forward that builds a cache drops the segments. Ours travel by keyword."""
    causal = objective_of(tiny_model(family, tmp_path)).model.train()
    ids = torch.randint(3, 400, (1, 20), generator=torch.Generator().manual_seed(0))
    positions = torch.cat([torch.arange(12), torch.arange(8)])[None]
    other = ids.clone()
    other[0, :12] = (other[0, :12] + 5) % 400

    def forward(told: torch.Tensor) -> torch.Tensor:
        logits = causal(told, position_ids=positions, use_cache=True, cu_seq_lens_q=(0, 12, 20)).logits
        assert isinstance(logits, torch.Tensor)
        return logits[0]

    assert torch.equal(forward(ids)[12:], forward(other)[12:])
    assert not torch.equal(forward(ids)[:12], forward(other)[:12])


def test_a_sliding_window_is_kept_within_a_conversation(tmp_path: Path) -> None:
    config = AutoConfig.for_model(
        "mistral", vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, sliding_window=8,
    )  # fmt: skip
    stock_of(config).save_pretrained(tmp_path)
    objective: Any = objective_of(tmp_path).eval()
    stock = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).train(False)
    tokens = tokens_of(
        [list(range(5, 35)), list(range(50, 55)), list(range(60, 81))], [[0, *[1] * n] for n in (29, 4, 20)]
    )
    _, _, logits = objective(batch_of(tokens, [0, 1, 2], CPU), None)
    for row in range(3):
        piece = slice(int(tokens.offsets[row]), int(tokens.offsets[row + 1]))
        alone = stock(torch.from_numpy(tokens.ids[piece].astype("int64"))[None], use_cache=False).logits[0]
        torch.testing.assert_close(logits[piece], alone, rtol=1e-5, atol=1e-5)
    changed = tokens.ids.copy()
    changed[0] = 99  # 8 positions back is out of sight in a single layer
    _, _, after = objective(batch_of(tokens_with(tokens, changed), [0, 1, 2], CPU), None)
    assert not torch.equal(logits[7], after[7])
    assert torch.equal(logits[8:], after[8:])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_probe_lets_the_tested_families_pass(family: str, tmp_path: Path) -> None:
    probe(objective_of(tiny_model(family, tmp_path)).train(), CPU)


def test_a_family_that_ignores_segments_is_refused(tmp_path: Path) -> None:
    """Falcon has attention classes of its own, which never see what the attention interface is given."""
    config = AutoConfig.for_model(
        "falcon", vocab_size=400, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, alibi=False,
        hidden_dropout=0.0, attention_dropout=0.0,
    )  # fmt: skip
    stock_of(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"falcon: .*attention of its own"):
        probe(objective_of(tmp_path), CPU)


def test_a_leak_a_look_ahead_and_changed_logits_are_each_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe itself can fail: a model that is broken in each of the ways is caught, with the reason."""
    tiny_model("llama", tmp_path)

    def broken(**change: Any) -> str:
        register()
        objective = objective_of(tmp_path)
        with monkeypatch.context() as patch:
            for target, value in change.items():
                if target == "attend":
                    patch.setitem(torch_interface(), NAME, value)
                else:
                    objective.model.lm_head.register_forward_hook(value)
            with pytest.raises(UserError) as caught:
                probe(objective, CPU)
        register()
        return str(caught.value)

    def sees_all(module: nn.Module, q: Any, k: Any, v: Any, *_: Any, scaling: float, **__: Any) -> Any:
        out = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=True)
        return out.transpose(1, 2), None

    def sees_ahead(module: nn.Module, q: Any, k: Any, v: Any, *_: Any, scaling: float, **__: Any) -> Any:
        first = nn.functional.scaled_dot_product_attention(
            q[:, :, :12], k[:, :, :12], v[:, :, :12], scale=scaling, enable_gqa=True
        )
        rest = nn.functional.scaled_dot_product_attention(
            q[:, :, 12:], k[:, :, 12:], v[:, :, 12:], scale=scaling, enable_gqa=True
        )
        return torch.cat([first, rest], 2).transpose(1, 2), None

    def sees_nothing(module: nn.Module, q: Any, k: Any, v: Any, *_: Any, **__: Any) -> Any:
        return torch.zeros_like(q).transpose(1, 2), None

    assert "see each other" in broken(attend=sees_all)
    assert "lets a token see later ones" in broken(attend=sees_ahead)
    assert "does not look at earlier tokens" in broken(attend=sees_nothing)
    assert "changes its logits" in broken(head=lambda _module, _inputs, output: output * 2)


def tokens_with(tokens: Any, ids: Any) -> Any:
    from dataclasses import replace

    return replace(tokens, ids=ids)


def torch_interface() -> Any:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    return ALL_ATTENTION_FUNCTIONS
