"""What only a GPU runs, as far as a CPU can tell: how its attention is called, what is compiled, where buffers lie."""

from inspect import signature
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.nn.attention.varlen import varlen_attn

from caravan.train import attention, model
from caravan.train.loader import batch_of
from caravan.train.objective import Sft
from madeup import random_tokens
from tiny import tiny_model

CPU = torch.device("cpu")
ENDS = (0, 5, 6, 14)


def as_documented(*args: Any, **kwargs: Any) -> Tensor:
    """`varlen_attn` by its own signature and limits: [T, H, D] in half precision, the last dimension dense."""
    given = signature(varlen_attn).bind(*args, **kwargs).arguments
    query, key, value, ends = (given[name] for name in ("query", "key", "value", "cu_seq_q"))
    assert query.dtype == key.dtype == value.dtype == torch.bfloat16
    assert query.stride(-1) == key.stride(-1) == value.stride(-1) == 1
    assert ends.dtype == torch.int32
    assert given["max_q"] == given["max_k"] >= max(int(b - a) for a, b in pairwise(ends))
    if "enable_gqa" in signature(varlen_attn).parameters:  # torch 2.11 takes grouped heads without being told
        assert given.get("enable_gqa", False) == (query.shape[1] != key.shape[1])
    left, right = given["window_size"]
    assert right == 0
    at = torch.arange(len(query))
    back = at[:, None] - at
    segment = torch.searchsorted(ends[1:], at, right=True)
    sees = (back >= 0) & (segment[:, None] == segment) & ((back <= left) if left >= 0 else True)
    repeated = (t.float().repeat_interleave(query.shape[1] // t.shape[1], 1) for t in (key, value))
    keys, values = (t.transpose(0, 1) for t in repeated)
    scores = query.float().transpose(0, 1) @ keys.mT * given["scale"]
    out: Tensor = (scores.masked_fill(~sees, -torch.inf).softmax(-1) @ values).transpose(0, 1).to(query.dtype)
    return out


def heads(groups: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """As a model lays them out: [1, T, H, D] seen as [1, H, T, D]."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, ENDS[-1], n, 8, dtype=dtype).transpose(1, 2) for n in (4, groups, groups))
    return query, key, value


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("groups", [4, 2])
def test_a_gpu_computes_what_a_cpu_does(groups: int, window: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "varlen_attn", as_documented)
    some = heads(groups, torch.bfloat16)
    told: dict[str, Any] = {"attention_mask": None, "scaling": 0.3, "sliding_window": window}
    ours, _ = attention.attend(nn.Module(), *some, cu_seq_lens_q=ENDS, **told)
    ends = torch.tensor(ENDS, dtype=torch.int32)
    theirs, _ = attention.attend(nn.Module(), *some, cu_seq_lens_q=ends, max_length_q=256, **told)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(("dtype", "dropout"), [(torch.float32, 0.0), (torch.bfloat16, 0.1)])
def test_what_flash_kernels_lack_is_computed_all_the_same(dtype: torch.dtype, dropout: float) -> None:
    some = heads(2, dtype)
    told: dict[str, Any] = {"attention_mask": None, "dropout": dropout}
    torch.manual_seed(1)
    ours, _ = attention.attend(nn.Module(), *some, cu_seq_lens_q=ENDS, **told)
    torch.manual_seed(1)
    ends = torch.tensor(ENDS, dtype=torch.int32)
    theirs, _ = attention.attend(nn.Module(), *some, cu_seq_lens_q=ends, max_length_q=256, **told)
    assert torch.equal(ours, theirs)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's own tracing
@pytest.mark.parametrize("how", ["full", "none"])
def test_all_blocks_share_one_graph_also_when_they_are_recomputed(how: str, tmp_path: Path) -> None:
    causal = model.skeleton(model.read_config(tiny_model("llama", tmp_path)))
    objective = Sft(causal, ["a"])
    model.materialise(objective, CPU)
    model.load_weights(causal, tmp_path)
    batch = batch_of(random_tokens(1, 3, 400), [0, 1, 2], CPU)
    plain = objective(batch, 1.0).loss
    layers = model.blocks(causal)
    model.recompute(layers, how)
    for layer in layers:
        layer.compile(backend="eager")
    counters.clear()
    loss = objective(batch, 1.0).loss
    loss.backward()
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
    torch.testing.assert_close(loss, plain)


def test_buffers_stay_where_sharding_put_them() -> None:
    """With CPU offload parameters get CPU memory, and buffers on the GPU must not follow them there."""
    module = nn.Linear(2, 2, device="meta")
    buffer = torch.arange(3.0)
    module.register_buffer("frequencies", buffer)
    model.materialise(module, CPU)
    assert module.weight.device == CPU
    assert module.get_buffer("frequencies").data_ptr() == buffer.data_ptr()
