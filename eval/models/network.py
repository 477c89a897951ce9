"""A causal language model of transformers as three steps: compute a beginning, go on from it in rows, write a token.

How much a family allows is not looked up but tried, on a few tokens, against whole prompts computed alone:

| way | beginnings | texts are written | for |
|---|---|---|---|
| shared | kept once, read by all rows | in rows | full attention through the library's interface: most families |
| expanded | a cache, expanded to the rows | in rows of equal length | attention of its own, sliding windows |
| whole | computed again with each prompt | one by one | recurrent states, caches of other kinds |

Rows are padded on the right, where nothing that is read can see it: no mask is needed before tokens are written.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.cache_utils import Cache, DynamicLayer, DynamicSlidingWindowLayer

from caravan.errors import UserError
from caravan.eval.models import attention
from caravan.train.hub import said
from caravan.train.loadback import quiet
from caravan.train.model import read_config

Way = Literal["shared", "expanded", "whole"]
PORTION = {"cpu": 512, "cuda": 32768}
"""On a CPU, what stays in its caches is read faster than what does not."""
NOTES: dict[Way, str] = {
    "shared": "",
    "expanded": "this family's attention is its own: texts are written in batches of equally long prompts",
    "whole": "this family's cache cannot be gone on from: every prompt is computed whole, texts one by one",
}


@dataclass(frozen=True)
class Beginning:
    """The first `length` tokens of prompts, computed. `kept`: keys of every layer, or a cache, or the ids alone."""

    length: int
    kept: Any


@dataclass
class Rows:
    """Rows that are being written: the position of each row's next token, the length of the cache's own part."""

    cache: Any
    ends: Tensor
    width: int
    mask: Tensor | None


class Network:
    """See the module. `device` and `dtype` are the model's; `kept_bytes` is what one token takes in the cache.

    `portion`: tokens of rows that are read at once.
    """

    def __init__(self, model: Any) -> None:
        self.model = model.eval()
        self.device, self.dtype = model.device, model.dtype
        self.config = model.config.get_text_config(decoder=True)
        parameters = signature(model.forward).parameters
        self._cache_word = next((w for w in ("cache", "past_key_values", "cache_params") if w in parameters), None)
        self._takes_positions = "position_ids" in parameters
        self._at: Tensor | None = None
        head = model.get_output_embeddings()
        if head is not None:
            head.register_forward_pre_hook(self._narrow)
        self.way: Way = "whole"
        self.pads = True
        """Whether rows padded on the right give what they give alone."""
        self.kept_bytes, self.portion = 0, PORTION["cuda" if self.device.type == "cuda" else "cpu"]
        self._choose()

    def begin(self, before: Beginning | None, ids: Sequence[int]) -> tuple[Beginning, Tensor]:
        """Go on from a beginning by some tokens: the longer beginning, and the logits after its last token [V]."""
        last = torch.tensor([[len(ids) - 1]], device=self.device)
        length = (before.length if before else 0) + len(ids)
        if self.way == "whole":
            whole = [*(before.kept if before else ()), *ids]
            last += len(whole) - len(ids)
            return Beginning(length, whole), self._forward([whole], last)[0, 0]
        cache = self._cache(before, 1, len(ids))
        logits = self._forward([ids], last, cache)[0, 0]
        if self.way == "expanded":
            return Beginning(length, cache), logits
        kept = []
        for layer in cache.layers:
            own = (layer.keys, layer.values)
            pairs = zip(layer.beginning, own, strict=True) if layer.beginning is not None else ()
            kept.append(tuple(torch.cat(pair, 2) for pair in pairs) or own)
        return Beginning(length, kept), logits

    def rows(
        self, before: Beginning | None, rows: Sequence[Sequence[int]], at: Sequence[Sequence[int]], room: int = 0
    ) -> tuple[Tensor, Rows]:
        """Go on from a beginning in several rows: logits [B, n, V] at n places of each row, and what can be written on.

        `at` are places in the row, in ascending order, the same number for each; `room` is how many tokens will be
        written to a row at most. The last token of a row is where writing goes on.
        """
        start, width = before.length if before else 0, max(map(len, rows))
        ends = torch.tensor([start + len(row) for row in rows], device=self.device)
        places = torch.tensor(at, device=self.device)
        if self.way == "whole":
            whole = [[*(before.kept if before else ()), *row] for row in rows]
            cache = [*whole[0]] if room else None
            return self._forward(whole, places + start), Rows(cache, ends, width, None)
        cache = self._cache(before, len(rows), width + room)
        logits = torch.cat([self._read(rows[part], places[part], cache, part) for part in self._parts(rows)])
        for layer in cache.layers if self.way == "shared" else ():
            layer.window, layer.own = slice(None), width
        mask = None
        if any(len(row) < width for row in rows) and room:
            mask = torch.arange(width + room, device=self.device) < (ends - start)[:, None]
            mask[:, width:] = True
        return logits, Rows(cache, ends, width, mask)

    def step(self, rows: Rows, tokens: Sequence[int]) -> Tensor:
        """Write one token to each row: the logits after it [B, V]."""
        ids = [[token] for token in tokens]
        first = torch.zeros(len(ids), 1, dtype=torch.long, device=self.device)
        if self.way == "whole":
            rows.cache += tokens
            return self._forward([rows.cache], first + len(rows.cache) - 1)[:, 0]
        more: dict[str, Any] = {}
        rows.width += 1
        if rows.mask is not None:
            more["attention_mask"] = rows.mask[:, None, None, : rows.width]
        if self._takes_positions and self.way == "shared":
            more["position_ids"] = rows.ends[:, None]
        logits = self._forward(ids, first, rows.cache, **more)[:, 0]
        rows.ends = rows.ends + 1
        return logits

    def keep(self, rows: Rows, indices: Sequence[int]) -> None:
        """Go on with these rows alone."""
        chosen = torch.tensor(indices, device=self.device)
        rows.cache.batch_select_indices(chosen)
        rows.ends = rows.ends[chosen]
        rows.mask = None if rows.mask is None else rows.mask[chosen]

    def _parts(self, rows: Sequence[Sequence[int]]) -> list[slice]:
        """The rows in portions that are read at once."""
        portion = len(rows) if self.way != "shared" else max(self.portion // max(map(len, rows)), 1)
        return [slice(start, min(start + portion, len(rows))) for start in range(0, len(rows), portion)]

    def _read(self, rows: Sequence[Sequence[int]], at: Tensor, cache: Any, part: slice) -> Tensor:
        """Logits of a portion of the rows; their keys go where the portion lies in the cache."""
        for layer in cache.layers if self.way == "shared" else ():
            layer.window, layer.own = part, 0
        return self._forward(rows, at, cache)

    def _forward(self, rows: Sequence[Sequence[int]], at: Tensor, cache: Cache | None = None, **more: Any) -> Tensor:
        """Logits [B, n, V] at places `at` [B, n] of rows, which are padded on the right with their last token."""
        width = max(map(len, rows))
        ids = torch.tensor([[*row, *[row[-1]] * (width - len(row))] for row in rows], device=self.device)
        if cache is not None and self._cache_word:
            more[self._cache_word] = cache
        self._at = at if at.shape[1] < width or len(rows) > 1 else None
        with torch.inference_mode(), attention.running(cache if self.way == "shared" else None):
            logits: Tensor = self.model(input_ids=ids, use_cache=cache is not None, **more).logits
        if self._at is not None:  # no hidden states passed through the head on their way
            logits = logits.gather(1, at[:, :, None].expand(-1, -1, logits.shape[-1]))
            self._at = None
        return logits

    def _narrow(self, _: Any, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Keep, of the hidden states before the vocabulary matrix, the places that are asked for."""
        hidden, at = given[0], self._at
        if at is None or hidden.ndim != 3 or hidden.shape[0] != at.shape[0]:
            return None
        self._at = None
        return (hidden.gather(1, at[:, :, None].expand(-1, -1, hidden.shape[-1])), *given[1:])

    def _cache(self, before: Beginning | None, rows: int, room: int) -> Any:
        """A cache that begins with a beginning and has room for so many tokens of each row."""
        if self.way == "shared":
            layers = before.kept if before else [None] * self.config.num_hidden_layers
            return Cache(layers=[attention.SharedLayer(layer, rows, room) for layer in layers])
        cache: Any = DynamicCache(config=self.config)
        if before is not None:
            cache.layers = [copy.copy(layer) for layer in before.kept.layers]
            for layer in cache.layers:
                if layer.keys is not None:  # they grow by concatenation, so a view will do
                    layer.keys = layer.keys.expand(rows, -1, -1, -1)
                    layer.values = layer.values.expand(rows, -1, -1, -1)
        return cache

    def _choose(self) -> None:
        """Take the first way by which a few tokens come out as in whole prompts that are computed alone."""
        tokens = [(7 * n + 3) % self.config.vocab_size for n in range(40)]
        start, rows, written = tokens[:10], (tokens[10:24], tokens[30:37]), (tokens[24:26], tokens[38:40])
        whole = [[*start, *row] for row in rows]
        longer = [[*ids, *some[:n]] for ids, some in zip(whole, written, strict=True) for n in (0, 1, 2)]
        alone = torch.stack(
            [self._forward([ids], torch.tensor([[len(ids) - 1]], device=self.device))[0, 0] for ids in longer]
        )
        alone = alone.float().view(2, 3, -1)
        near = (1e-4 if self.dtype == torch.float32 else 5e-2) * float(alone.abs().max())

        def same(found: Tensor, wanted: Tensor) -> bool:
            return bool(((found.float() - wanted).abs() <= near).all())

        usual = self.model.config._attn_implementation
        for self.way in ("shared", "expanded", "whole"):
            try:
                if self.way == "shared":
                    attention.register()
                    self.model.set_attn_implementation(attention.NAME)
                self.pads = True
                if self.way == "whole":
                    last = torch.tensor([[len(row) - 1] for row in whole], device=self.device)
                    self.pads = same(self._forward(whole, last)[:, 0], alone[:, 0])
                elif self._possible() and self._tried(start, rows, written, alone, same):
                    break
            except Exception:  # a family that cannot do it says so in whatever way it likes
                self.pads = False
            self.model.set_attn_implementation(usual)
        self._at = None

    def _possible(self) -> bool:
        """Whether the layers of the family's own cache are of the kinds that this way knows."""
        layers = DynamicCache(config=self.config).layers
        kinds = {DynamicLayer} if self.way == "shared" else {DynamicLayer, DynamicSlidingWindowLayer}
        return bool(layers) and self._cache_word is not None and {type(layer) for layer in layers} <= kinds

    def _tried(
        self,
        start: Sequence[int],
        rows: Sequence[list[int]],
        written: Sequence[list[int]],
        alone: Tensor,
        same: Callable[[Tensor, Tensor], bool],
    ) -> bool:
        """Whether beginning, rows and writing give the logits `alone` [2, 3, V] of whole prompts."""
        before, _ = self.begin(self.begin(None, start[:4])[0], start[4:])
        caches = list(before.kept) if self.way == "shared" else [(x.keys, x.values) for x in before.kept.layers]
        self.kept_bytes = sum(x.numel() * x.element_size() for pair in caches for x in pair if x is not None) // len(
            start
        )
        last = [[len(row) - 1] for row in rows]
        logits, going = self.rows(before, rows, last, 2)
        if not same(logits[:, 0], alone[:, 0]):
            return False
        if self.way == "shared":
            found = self.step(going, [some[0] for some in written])
            self.keep(going, [1])
            return same(found, alone[:, 1]) and same(self.step(going, written[1][1:]), alone[1:, 2])
        _, going = self.rows(before, [rows[0], rows[0]], [last[0]] * 2, 2)
        found = self.step(going, [written[0][0]] * 2)
        self.keep(going, [1])
        return same(found, alone[:1, 1].expand(2, -1)) and same(self.step(going, written[0][1:]), alone[:1, 2])


def load(folder: Path, dtype: torch.dtype, device: torch.device) -> Network:
    """Read a model's folder: no code that it brings, no pickle. `UserError` for what is no causal language model."""
    config = read_config(folder)
    if not any(folder.glob("*.safetensors")):
        fix = "pickled weights (*.bin) are not read: convert them, or take a revision that has safetensors"
        raise UserError("no *.safetensors", where=str(folder), fix=fix)
    try:
        with quiet():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # the package raises whatever it likes for what is wrong with the files
        raise UserError(f"no causal language model: {said(error)}", where=str(folder)) from None
    model, loading = loaded
    if missing := sorted(loading["missing_keys"]):  # the library would invent them
        fix = "take config and weights from one model"
        raise UserError(f"{missing[0]} is not in its weights", where=str(folder), fix=fix)
    return Network(model.to(device))
