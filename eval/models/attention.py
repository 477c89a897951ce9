"""Attention of many rows to one shared beginning, which is kept once and never copied into the rows.

A model is told `attn_implementation="caravan-shared"`. Each layer of its cache then holds the beginning [1, G, P, D]
and, of each row, only what is the row's own. While tokens are written one by one, the scores of both parts are computed
apart and normalised together: the keys of a beginning are read once for all rows, where a cache that is expanded reads,
and grows by concatenation, P keys for every row.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache, DynamicLayer
from transformers.masking_utils import sdpa_mask

NAME = "caravan-shared"
Keys = tuple[Tensor, Tensor]
"""Keys and values of a layer: [1, G, P, D] each."""

_running: ContextVar[Cache | None] = ContextVar("_running", default=None)


class SharedLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A layer of the cache: `beginning` for all rows, and room for `room` tokens of each row's own, filled in place.

    What is appended goes to the rows of `window`, behind the first `own` tokens.
    """

    def __init__(self, beginning: Keys | None, rows: int, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.beginning, self.own, self.window = beginning, 0, slice(rows)
        self._shape = rows, room

    @property
    def _length(self) -> int:
        return 0 if self.beginning is None else self.beginning[0].shape[2]

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> Keys:
        """Append, and give the rows' own keys and values as far as there are any."""
        if not self.is_initialized:
            rows, room = self._shape
            self.keys, self.values = (
                x.new_empty(rows, x.shape[1], room, x.shape[3]) for x in (key_states, value_states)
            )
            self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
        assert self.keys is not None
        assert self.values is not None
        end = self.own + key_states.shape[2]
        keys, values = self.keys[self.window], self.values[self.window]
        keys[:, :, self.own : end] = key_states
        values[:, :, self.own : end] = value_states
        self.own = end
        return keys[:, :, :end], values[:, :, :end]

    def get_seq_length(self, *_: Any) -> int:
        """Tokens before the next one."""
        return self._length + self.own

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """A mask is asked for the rows' own part alone: (length, where it begins)."""
        return self.own + query_length, self._length

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows."""
        assert self.keys is not None
        assert self.values is not None
        self.keys, self.values = self.keys[indices], self.values[indices]
        self.window = slice(len(indices))


@contextmanager
def running(cache: Cache | None) -> Iterator[None]:
    """Within, attention finds the beginnings in this cache."""
    token = _running.set(cache)
    try:
        yield
    finally:
        _running.reset(token)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """`query` [B, H, T, D], the rows' own `key` and `value` [B, G, S, D], a mask true where to look; [B, T, H, D].

    Raises `NotImplementedError` for what some families ask beside it: caps, sinks, biases, windows.
    """
    for name in ("softcap", "s_aux", "position_bias", "sliding_window"):
        if more.get(name) is not None:
            raise NotImplementedError(name)
    cache = _running.get()
    layer = None if cache is None else cache.layers[module.layer_idx]  # type: ignore[index]
    beginning = layer.beginning if isinstance(layer, SharedLayer) else None
    if beginning is None:
        out = _plain(query, key, value, attention_mask, scaling)
    elif query.shape[2] == 1:
        out = _two_parts(query, beginning, (key, value), attention_mask, scaling)
    else:
        rows, own = query.shape[0], key.shape[2]
        before = beginning[0].shape[2]
        if attention_mask is None:
            attention_mask = torch.ones(query.shape[2], own, dtype=torch.bool, device=query.device).tril(
                own - query.shape[2]
            )
        key, value = (
            torch.cat([a.expand(rows, -1, -1, -1), b], 2) for a, b in zip(beginning, (key, value), strict=True)
        )
        out = _plain(query, key, value, F.pad(attention_mask, (before, 0), value=True), scaling)
    return out.transpose(1, 2).contiguous(), None


def _plain(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None) -> Tensor:
    """The library's kernel: [B, H, T, D]."""
    groups = query.shape[1] // key.shape[1]
    if groups > 1 and query.shape[2] == 1:  # the heads of a group are as many queries to the same keys
        packed = _plain(query.reshape(query.shape[0], key.shape[1], groups, -1), key, value, mask, scaling)
        return packed.reshape(*query.shape[:3], -1)
    if groups > 1 and mask is not None and query.is_cuda:  # its kernels take groups or a mask, not both
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    causal = mask is None and query.shape[2] > 1 and query.shape[2] == key.shape[2]
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=causal, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
    )


def _two_parts(query: Tensor, beginning: Keys, own: Keys, mask: Tensor | None, scaling: float | None) -> Tensor:
    """One new token a row: [B, H, 1, D]. The beginning is multiplied with all rows' queries at once."""
    rows, heads, _, size = query.shape
    kept = own[0].shape[1]
    packed = query.reshape(rows, kept, heads // kept, size) * (size**-0.5 if scaling is None else scaling)
    turned = packed.transpose(0, 1).reshape(kept, -1, size)  # [G, B * H/G, D]
    before = beginning[0].shape[2]
    first = torch.bmm(turned, beginning[0][0].transpose(1, 2)).view(kept, rows, -1, before).transpose(0, 1)
    second = packed @ own[0].transpose(2, 3)
    if mask is not None:
        second = second.masked_fill(~mask, -torch.inf)
    shares = torch.cat([first, second], -1).softmax(-1, dtype=torch.float32).to(query.dtype)
    out = shares[..., before:] @ own[1]
    turned = shares[..., :before].transpose(0, 1).reshape(kept, -1, before)
    out += torch.bmm(turned, beginning[1][0]).view(kept, rows, -1, out.shape[-1]).transpose(0, 1)
    return out.reshape(rows, heads, 1, -1)


def register() -> None:
    """Make `attn_implementation="caravan-shared"` known to transformers."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
