"""Operations a token by both counts, and the peaks that they are measured against."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, LlamaConfig

from caravan.train.config import TrainConfig
from caravan.train.flops import Flops, flops_of, mfu, peak_tflops
from caravan.train.model import add_adapters, skeleton
from caravan.train.shapes import shape

NAMES: list[tuple[str, float | None]] = [
    ("NVIDIA A100-SXM4-80GB", 312),
    ("NVIDIA A100-SXM4-40GB", 312),
    ("A100-SXM4-40GB", 312),
    ("NVIDIA A100 80GB PCIe", 312),
    ("NVIDIA A100-PCIE-40GB", 312),
    ("NVIDIA A800-SXM4-80GB", 312),
    ("NVIDIA H100 80GB HBM3", 989),
    ("NVIDIA H100 PCIe", 756),
    ("NVIDIA H100 NVL", 835),
    ("NVIDIA H800", 989),
    ("NVIDIA H200", 989),
    ("NVIDIA H200 NVL", 835),
    ("NVIDIA GH200 480GB", 989),
    ("NVIDIA H20", 148),
    ("NVIDIA B200", 2250),
    ("NVIDIA GB200", 2500),
    ("NVIDIA A10", 125),
    ("NVIDIA A10G", 70),
    ("NVIDIA L4", 121),
    ("NVIDIA L40", 181),
    ("NVIDIA L40S", 362),
    ("NVIDIA RTX A6000", 154.85),
    ("NVIDIA GeForce RTX 3090", 71),
    ("NVIDIA GeForce RTX 4090", 165),
    ("AMD Instinct MI300X", 1307),
    ("AMD Instinct MI250X / MI250", 191.5),
    # not known, or not known well enough
    ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
    ("NVIDIA H100 80GB HBM3 MIG 3g.40gb", None),
    ("GRID A100X-40C", None),
    ("NVIDIA A10-24Q", None),
    ("NVIDIA GeForce RTX 3090 Ti", None),
    ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
    ("NVIDIA RTX 6000 Ada Generation", None),
    ("Tesla V100-SXM2-32GB", None),
    ("Tesla T4", None),
    ("NVIDIA A1000", None),
    ("cpu", None),
    ("", None),
]


@pytest.mark.parametrize(("name", "peak"), NAMES, ids=[name or "empty" for name, _ in NAMES])
def test_each_card_has_its_own_peak_and_an_unknown_one_has_none(name: str, peak: float | None) -> None:
    assert peak_tflops(name) == peak


def test_mfu_is_a_share_of_all_devices_and_unknown_on_an_unknown_one() -> None:
    assert mfu(312e12, 1.0, "NVIDIA A100-SXM4-80GB") == pytest.approx(1.0)
    assert mfu(312e12, 2.0, "NVIDIA A100-SXM4-80GB", devices=4) == pytest.approx(0.125)
    assert mfu(1e15, 1.0, "cpu") is None
    assert mfu(1e15, 0.0, "NVIDIA H200") is None


def test_the_full_count_gives_the_mfu_that_was_published_with_it() -> None:
    """llm-foundry's table: MPT-7B (6.66 billion parameters, 32 layers of 4096), 2048, A100: 4641 tokens/s, 64.2 %."""
    mpt = Flops(parameters=6_658_859_008, trainable=6_658_859_008, layers=32, width=4096)

    share = mfu(mpt.full(2048) * 4641, 1.0, "NVIDIA A100-SXM4-80GB")

    assert share == pytest.approx(0.642, abs=0.001)


def test_llama_7b_by_hand() -> None:
    config = shape("llama-7b")
    flops = flops_of(skeleton(config), config)

    assert flops == Flops(6_738_415_616, 6_738_415_616, 32, 4096)
    assert flops.full(2048) == 6 * 6_738_415_616 + 12 * 32 * 4096 * 2048


def test_segments_cost_what_they_see() -> None:
    flops = Flops(parameters=1000, trainable=1000, layers=3, width=16)

    assert flops.by_segments([10, 30]) == 6 * 1000 * 40 + 6 * 3 * 16 * (10**2 + 30**2)
    assert flops.by_segments([]) == 0
    # a bin of one conversation: the causal half of the full count's attention
    assert flops.by_segments([64]) == 64 * (flops.full(64) + flops.full(0)) / 2
    # the same tokens in more pieces cost less, and never less than the matrix products
    assert 64 * flops.per_token < flops.by_segments([32, 32]) < flops.by_segments([64])


def test_a_grouped_head_counts_queries_not_keys() -> None:
    config = LlamaConfig(
        vocab_size=32, hidden_size=24, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, head_dim=16
    )

    assert flops_of(skeleton(config), config).width == 32


def test_tied_weights_count_once() -> None:
    shape_of = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    tied, untied = (
        LlamaConfig(**shape_of, num_attention_heads=2, tie_word_embeddings=tie)  # type: ignore[arg-type]
        for tie in (True, False)
    )

    difference = flops_of(skeleton(untied), untied).parameters - flops_of(skeleton(tied), tied).parameters

    assert difference == 50 * 16


def test_frozen_weights_cost_no_gradient() -> None:
    config = shape("pythia-70m")
    model = skeleton(config)
    add_adapters(model, TrainConfig(lora_rank=4))
    flops = flops_of(model, config)

    assert 0 < flops.trainable < 0.02 * flops.parameters
    assert flops.per_token == 4 * flops.parameters + 2 * flops.trainable


def test_the_matrix_products_are_those_that_torch_counts() -> None:
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    model: Any = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")  # type: ignore[no-untyped-call]
    flops, tokens = flops_of(model, config), 16
    counter = FlopCounterMode(display=False)

    with counter:
        model(input_ids=torch.zeros(1, tokens, dtype=torch.int64), use_cache=False).logits.sum().backward()

    products = sum(p.numel() for p in model.parameters() if p.ndim > 1) - 64 * 32  # an embedding is looked up
    assert counter.get_flop_counts()["Global"][torch.ops.aten.mm] == 6 * products * tokens
    assert flops.per_token == 6 * (products + 64 * 32 + 5 * 32)  # by the convention it counts, as norms do
