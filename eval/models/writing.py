"""Texts written token by token: each row ends at its own end, and leaves the batch when it does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from caravan.eval.benchmark import Answer
from caravan.eval.model import Request
from caravan.eval.models.batches import Job
from caravan.eval.models.likelihood import NOT_FINITE
from caravan.eval.models.network import Beginning, Network

ANCHOR = 4  # tokens of the prompt that a text is decoded behind: some tokenizers drop the space that a text begins with
NEAR_DRAW = 2e-5  # probability: how near a drawn number may lie to the border between two tokens


@dataclass
class _Text:
    """One text on its way."""

    number: int
    request: Request
    prompt: Sequence[int]
    limit: int
    written: list[int] = field(default_factory=list)
    answer: Answer | None = None
    random: torch.Generator | None = None


class Writer:
    """What writes: `text` gives the text of ids, without special tokens; `ends` are the ids that end one.

    Two likeliest logits nearer to each other than `tolerance` are a near tie; with 0 none are.
    """

    def __init__(
        self, network: Network, text: Callable[[Sequence[int]], str], ends: frozenset[int], tolerance: float
    ) -> None:
        self._network, self._plain, self._ends, self._tolerance = network, text, ends, tolerance

    def write(
        self, before: Beginning | None, jobs: Sequence[Job], requests: Sequence[Request], cut: int, *, settle: bool
    ) -> list[Answer]:
        """Answers to prompts. Where a text comes to a near tie it ends, marked and without text, unless `settle`."""
        texts = [_Text(n, r, job.ids, job.new) for n, (r, job) in enumerate(zip(requests, jobs, strict=True))]
        for text in texts:
            if text.request.temperature > 0:
                text.random = torch.Generator().manual_seed(text.request.seed)
        rows = [job.ids[cut:] for job in jobs]
        at = [[len(row) - 1] for row in rows]
        logits, going = self._network.rows(before, rows, at, max(job.new for job in jobs))
        now, values = texts, logits[:, 0]
        while True:
            self._choose(now, values, settle)
            kept = [n for n, text in enumerate(now) if text.answer is None]
            if not kept:
                return [text.answer for text in texts if text.answer is not None]
            if len(kept) < len(now):
                self._network.keep(going, kept)
                now = [now[n] for n in kept]
            values = self._network.step(going, [text.written[-1] for text in now])

    def _choose(self, texts: Sequence[_Text], logits: Tensor, settle: bool) -> None:
        """Write the next token of each text, and see whether it ends there."""
        best = logits.float().topk(2)
        greedy, tops = best.indices[:, 0].tolist(), best.values.tolist()
        for n, (text, token, (first, second)) in enumerate(zip(texts, greedy, tops, strict=True)):
            if not abs(first) < float("inf"):
                text.answer = Answer(ended="failed", error=NOT_FINITE)
                continue
            near = first - second < self._tolerance
            if text.random is not None:
                u = float(torch.rand((), generator=text.random, dtype=torch.float64))
                token, distance = draw(logits[n], text.request.temperature, text.request.top_p, u)
                near = self._tolerance > 0 and distance < NEAR_DRAW
            if near and not settle:
                text.answer = Answer(near_tie=True)
                continue
            self._append(text, token)

    def _append(self, text: _Text, token: int) -> None:
        if token in self._ends:
            text.answer = Answer(self._decode(text))
            return
        text.written.append(token)
        if (stopped := self._stopped(text)) is not None:
            text.answer = Answer(stopped)
        elif len(text.written) >= text.limit:
            text.answer = Answer(self._decode(text), ended="length")

    def _stopped(self, text: _Text) -> str | None:
        """The text before its first stop string, if it holds one by now. The end alone is looked at on most tokens."""
        stops = [stop for stop in text.request.stop if stop]
        if not stops:
            return None
        window = max(len(stop.encode()) for stop in stops) + 8  # a token is a byte at least, but for special ones
        if len(text.written) > window:
            end = self._plain(text.written[-window:])
            if not any(stop in end for stop in stops):
                return None
        whole = self._decode(text)
        places = [place for stop in stops if (place := whole.find(stop)) >= 0]
        return whole[: min(places)] if places else None

    def _decode(self, text: _Text) -> str:
        """The text written so far, with the space that it begins with."""
        anchor = list(text.prompt[-ANCHOR:])
        before, whole = self._plain(anchor), self._plain([*anchor, *text.written])
        return whole[len(before) :] if whole.startswith(before) else self._plain(text.written)


def draw(logits: Tensor, temperature: float, top_p: float, u: float) -> tuple[int, float]:
    """The token [V] that a number u in [0, 1) falls on, and its distance, as a probability, from falling on another.

    Tokens lie side by side in the order of their ids. `top_p` keeps the likeliest tokens whose sum first reaches it
    (Holtzman et al., 2020, arXiv 1904.09751).
    """
    shares = (logits.double() / temperature).softmax(-1)
    distance = 1.0
    if top_p < 1:
        falling = shares.sort(descending=True).values
        sums = falling.cumsum(-1)
        last = min(int((sums < top_p).sum()), len(sums) - 1)
        distance = float((sums[max(last - 1, 0) : last + 1] - top_p).abs().min())
        shares = torch.where(shares >= falling[last], shares, 0.0)
    borders = shares.cumsum(-1)
    place = u * borders[-1]
    token = min(int((borders <= place).sum()), len(borders) - 1)
    low = float(borders[token - 1]) if token else 0.0
    inner = min(float(place) - low, float(borders[token] - place)) / float(borders[-1])
    return token, min(distance, inner)
