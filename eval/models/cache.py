"""Keys and values of what was read: a shared beginning that is never copied whole, and one that grows while writing."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

Beginning = list[tuple[Tensor, Tensor]]
"""Keys and values [1, heads, P, dim] of each layer."""


class _Layer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """What the two have in common: all tokens are there, none ever slides out."""

    is_sliding = False

    def get_seq_length(self) -> int:
        """How many tokens are there before the next pass."""
        raise NotImplementedError

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of keys in the next pass."""
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        """No limit."""
        return -1

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: what a layer needs it makes in its first pass."""


class SharedLayer(_Layer):
    """One layer of a beginning, before the keys and values of each row; the rows' own are forgotten."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._keys, self._values = keys, values

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """The beginning and the rows' own, for this pass alone."""
        rows = len(key_states)
        keys = torch.cat([self._keys.expand(rows, -1, -1, -1), key_states], dim=-2)
        return keys, torch.cat([self._values.expand(rows, -1, -1, -1), value_states], dim=-2)

    def get_seq_length(self) -> int:
        """Tokens of the beginning."""
        return self._keys.shape[-2]


class GrowingLayer(_Layer):
    """One layer's keys and values [rows, heads, `room`, dim], of which the first `length` are there."""

    def __init__(self, rows: int, room: int, beginning: tuple[Tensor, Tensor] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._shape, self._length = (rows, room), 0
        self._held: list[Tensor] = []
        if beginning is not None:
            self.update(*(part.expand(rows, -1, -1, -1) for part in beginning))

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write the new ones behind what is there, and give all."""
        rows, room = self._shape
        if not self._held:
            self._held = [t.new_empty(rows, t.shape[1], room, t.shape[-1]) for t in (key_states, value_states)]
        end = self._length + key_states.shape[-2]
        for held, new in zip(self._held, (key_states, value_states), strict=True):
            held[:, :, self._length : end] = new
        self._length = end
        return self._held[0][:, :, :end], self._held[1][:, :, :end]

    def get_seq_length(self) -> int:
        """Tokens that are there."""
        return self._length

    def keep(self, rows: Tensor) -> None:
        """Keep these rows [n] alone."""
        self._held = [held[rows] for held in self._held]
        self._shape = (len(rows), self._shape[1])

    @property
    def all(self) -> tuple[Tensor, Tensor]:
        """Keys and values of all that is there."""
        keys, values = (held[:, :, : self._length] for held in self._held)
        return keys, values


def shared(beginning: Beginning) -> Cache:
    """A cache that begins with what was read before."""
    return Cache(layers=[SharedLayer(keys, values) for keys, values in beginning])


def growing(layers: int, rows: int, room: int, beginning: Beginning | None = None) -> Cache:
    """A cache for at most `room` tokens a row, which may begin with what was read before."""
    parts: Sequence[tuple[Tensor, Tensor] | None] = beginning if beginning is not None else [None] * layers
    return Cache(layers=[GrowingLayer(rows, room, part) for part in parts])


def taken(cache: Cache) -> Beginning:
    """The keys and values of a growing cache of one row."""
    return [layer.all for layer in cache.layers if isinstance(layer, GrowingLayer)]


def keep(cache: Cache, rows: Tensor) -> None:
    """Drop all rows of a growing cache but these."""
    for layer in cache.layers:
        if isinstance(layer, GrowingLayer):
            layer.keep(rows)
