"""Attention that keeps the conversations of a bin apart, and the proof that a model uses it.

A model is built with `attn_implementation="caravan"`. The registered mask function gives no mask, and the boundaries
travel to the attention of every layer as the keyword `cu_seq_lens_q`. Positions alone do not isolate: a model that
builds a cache, or never looks at them, leaks. Nor would a mask do: it costs T x T and bars the flash kernels.
"""

from inspect import signature
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface

NAME = "caravan"
# torch 2.11 takes grouped heads as they come, and does not know the word.
_GROUPED: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in signature(varlen_attn).parameters else {}


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    cu_seq_lens_q: Any = None,
    max_length_q: int | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each segment: `query` [1, H, T, D] and `key`, `value` [1, G, T, D] give [1, T, H, D].

    `cu_seq_lens_q` holds 0 and the segments' ends: a tuple of ints on the CPU, an int32 tensor on a GPU. The keywords
    are those that the models of transformers pass. Raises `NotImplementedError` for a mask, or a cap of the scores.
    """
    if attention_mask is not None or softcap is not None or cu_seq_lens_q is None:
        raise NotImplementedError("this attention takes segments, no mask and no cap of the scores")
    window = sliding_window if sliding_window is not None and sliding_window > 0 else None
    if isinstance(cu_seq_lens_q, Tensor) and (dropout or query.dtype == torch.float32):
        cu_seq_lens_q = tuple(cu_seq_lens_q.tolist())  # flash kernels have neither: slower, but it computes
    if isinstance(cu_seq_lens_q, Tensor):
        assert max_length_q is not None
        out = varlen_attn(
            query[0].transpose(0, 1),
            key[0].transpose(0, 1),
            value[0].transpose(0, 1),
            cu_seq_lens_q,
            cu_seq_lens_q,
            max_length_q,
            max_length_q,
            scale=scaling,
            window_size=(-1 if window is None else window - 1, 0),
            **(_GROUPED if query.shape[1] != key.shape[1] else {}),
        )
        assert isinstance(out, Tensor)
        return out[None], None
    outs = []
    for start, end in pairwise(cu_seq_lens_q):
        length = end - start
        narrow = window is not None and window < length
        outs.append(
            F.scaled_dot_product_attention(
                query[:, :, start:end],
                key[:, :, start:end],
                value[:, :, start:end],
                attn_mask=_banded(length, window, query.device) if narrow and window else None,
                is_causal=not narrow,
                dropout_p=dropout if module.training else 0.0,
                scale=scaling,
                enable_gqa=query.shape[1] != key.shape[1],
            )
        )
    return (outs[0] if len(outs) == 1 else torch.cat(outs, dim=2)).transpose(1, 2), None


def keywords(boundaries: tuple[int, ...], longest: int, device: torch.device) -> dict[str, Any]:
    """What a model's forward is given so that `attend` knows the segments."""
    if device.type != "cuda":
        return {"cu_seq_lens_q": boundaries}
    steps = torch.tensor(boundaries, dtype=torch.int32).pin_memory().to(device, non_blocking=True)
    return {"cu_seq_lens_q": steps, "max_length_q": -(-longest // 256) * 256}  # rounded: fewer graphs to compile


def _banded(length: int, window: int, device: torch.device) -> Tensor:
    """[length, length], true where a position may look: at itself and the `window - 1` before it."""
    back = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)
    return (back >= 0) & (back < window)


def _no_mask(*_: Any, **__: Any) -> None:
    return None


def register() -> None:
    """Make `attn_implementation="caravan"` known to transformers."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, _no_mask)
