"""Writes texts token by token: rows that have ended leave the batch, stop strings are found in the text, not in ids."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from caravan.eval.benchmark import Answer, Ended
from caravan.eval.model import Request
from caravan.eval.models import cache
from caravan.eval.models.cache import Beginning
from caravan.eval.models.network import Network

NEAR = 1e-4  # of logits in fp32: closer ones may change places with the company that a row has
WINDOW = 8  # tokens beyond a stop string's characters in which it is looked for


@dataclass
class _Writing:
    """A row under way. `least` is the smallest lead that a chosen token had over the next."""

    place: int
    request: Request
    ids: list[int] = field(default_factory=list)
    generator: torch.Generator | None = None
    ended: Ended | None = None
    least: float = float("inf")


class Writer:
    """Writes with a network; `decode` gives the text of ids, `ends` are the ids that end an answer."""

    def __init__(self, network: Network, decode: Callable[[Sequence[int]], str], ends: frozenset[int]) -> None:
        self._network, self._decode, self._ends = network, decode, ends

    @torch.inference_mode()
    def write(
        self, rows: Sequence[Sequence[int]], requests: Sequence[Request], beginning: Beginning | None
    ) -> list[Answer]:
        """The answers to prompts: `rows` are the ids after what all share. Greedy at temperature 0, else drawn."""
        network, before = self._network, 0 if beginning is None else int(beginning[0][0].shape[-2])
        ids, positions, mask = network.padded(rows, beginning)
        longest, most = ids.shape[1], max(request.new_tokens for request in requests)
        held: Any = DynamicCache(config=network.model.config)
        if network.reuses:
            held = cache.growing(network.layers, len(rows), before + longest + most, beginning)
        if mask is not None:
            mask = torch.cat([mask, mask.new_ones(len(rows), most)], dim=1)
        lengths = torch.tensor([[before + len(row)] for row in rows], device=network.device)
        live = [_Writing(n, request) for n, request in enumerate(requests)]
        every = list(live)
        for step in range(most):
            seen = None if mask is None else mask[:, : before + longest + step]
            logits = network.step(ids, positions, seen, held)
            self._take(logits, live)
            going = [n for n, one in enumerate(live) if one.ended is None]
            if not going:
                break
            if len(going) < len(live):
                kept = torch.tensor(going, device=network.device)
                cache.keep(held, kept)
                lengths, live = lengths[kept], [live[n] for n in going]
                mask = None if mask is None else mask[kept]
            ids = torch.tensor([[one.ids[-1]] for one in live], device=network.device)
            positions = lengths + step if positions is not None or mask is not None else None
        return [self._answer(one) for one in every]

    def _take(self, logits: Tensor, live: Sequence[_Writing]) -> None:
        """Give each row its next token, and see whether it has ended."""
        best = logits.topk(2, dim=-1)
        lead, first = (best.values[:, 0] - best.values[:, 1]).tolist(), best.indices[:, 0].tolist()
        sound = logits.isfinite().any(-1).logical_and(~logits.isnan().any(-1)).tolist()
        for row, one in enumerate(live):
            if not sound[row]:
                one.ended = "failed"
                continue
            token = first[row]
            if one.request.temperature > 0:
                token = _drawn(logits[row], one)
            else:
                one.least = min(one.least, lead[row])
            if token in self._ends:
                one.ended = "stop"
                continue
            one.ids.append(token)
            if self._stopped(one):
                one.ended = "stop"
            elif len(one.ids) >= one.request.new_tokens:
                one.ended = "length"

    def _stopped(self, one: _Writing) -> bool:
        """Whether a stop string stands in what was written last; a token may hold its end and more."""
        if not one.request.stop:
            return False
        tail = self._decode(one.ids[-(max(map(len, one.request.stop)) + WINDOW) :])
        return any(stop in tail for stop in one.request.stop)

    def _answer(self, one: _Writing) -> Answer:
        if one.ended == "failed":
            return Answer(ended="failed", error="the model's logits are not finite")
        text = self._decode(one.ids)
        end = min((at for stop in one.request.stop if (at := text.find(stop)) >= 0), default=len(text))
        return Answer(text[:end], ended=one.ended or "length", near_tie=one.least < NEAR)


def _drawn(logits: Tensor, one: _Writing) -> int:
    """A token from the smallest set of the likeliest that holds `top_p` (Holtzman et al., 2020, arXiv 1904.09751).

    The row's own generator gives one number a token, so that a sample does not depend on its company.
    """
    if one.generator is None:
        one.generator = torch.Generator().manual_seed(one.request.seed)
    likely, order = (logits.double() / one.request.temperature).softmax(-1).sort(descending=True)
    cumulated = likely.cumsum(-1)
    kept = int((cumulated - likely < one.request.top_p).sum())
    drawn = float(torch.rand((), generator=one.generator, dtype=torch.float64)) * float(cumulated[kept - 1])
    place = min(int((cumulated[:kept] <= drawn).sum()), kept - 1)
    return int(order[place])
