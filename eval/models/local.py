"""A model on this machine: any causal language model that transformers loads, from safetensors and without its code.

What prompts share is read once (`plan`), and batches are planned over all requests, whatever was answered before.
Sums in floating point differ in their last digits with the company that a prompt has. In fp32 no answer hangs on that:
choices whose best two lie within `NEAR`, and texts that took a token by less, are computed again alone, from the whole
prompt, and marked. In bf16 the same holds for choices; texts may differ from one batch size to another, as everywhere.
"""

from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from typing import Any

import torch

from caravan.cache import key
from caravan.errors import UserError
from caravan.eval import rendering
from caravan.eval.benchmark import Answer, Ask
from caravan.eval.model import Request
from caravan.eval.models.cache import Beginning
from caravan.eval.models.memory import room_for
from caravan.eval.models.network import Network
from caravan.eval.models.plan import Batch, Row, plan, share
from caravan.eval.models.tokenizer import PromptTokenizer, model_folder
from caravan.eval.models.writing import Writer
from caravan.train.hub import fingerprint

NEAR = {torch.float32: 1e-4}  # of log-probabilities; other precisions:
NEAR_ROUNDED = 0.1
ROWS_CPU, ROWS_GPU = 16, 256  # texts that are written side by side, at most
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def open_model(
    name: str,
    *,
    form: str = "auto",
    dtype: str = "auto",
    batch_tokens: int | None = None,
    rank: int = 0,
    world: int = 1,
) -> "LocalModel":
    """The model of a folder, of a run of `train`, or of a name on the hub (OWNER/NAME[@REVISION]).

    `form`: "chat", "plain", "tulu" (the paper's turns), or "auto": chat, where the tokenizer has a template. `dtype`:
    "float32", "bfloat16", or "auto": bfloat16 on a GPU. `batch_tokens`: tokens of a batch, instead of what memory
    allows. `rank` of `world`: this process answers its share. Raises `UserError` for what cannot be loaded.
    """
    folder = model_folder(name, weights=True)
    tokenizer = PromptTokenizer(str(folder), tulu=form == "tulu")
    if form == "chat" and not tokenizer.has_template:
        raise UserError("the tokenizer has no chat template", where=name, fix="use --form plain, or --form tulu")
    device = (
        torch.device("cuda", rank % torch.cuda.device_count()) if torch.cuda.is_available() else torch.device("cpu")
    )
    precision = DTYPES.get(dtype, torch.bfloat16 if device.type == "cuda" else torch.float32)
    network = Network(folder, precision, device)
    chat = form in ("chat", "tulu") or (form == "auto" and tokenizer.has_template)
    identity = key(fingerprint(folder), tokenizer.fingerprint, str(precision), chat, device.type)
    return LocalModel(name, identity, network, tokenizer, chat, batch_tokens, rank, world)


class LocalModel:
    """See the module; `caravan.eval.model.Model` has the contract."""

    def __init__(
        self,
        name: str,
        identity: str,
        network: Network,
        tokenizer: PromptTokenizer,
        chat: bool,
        batch_tokens: int | None,
        rank: int,
        world: int,
    ) -> None:
        self.name, self.identity, self.context = name, identity, network.context
        self._network, self._tokenizer, self._chat = network, tokenizer, chat
        self._rank, self._world = rank, world
        reading, writing = room_for(network.model, network.device, world)
        self._reading, self._writing = (batch_tokens or reading), (batch_tokens or writing)
        self._rows = ROWS_GPU if network.device.type == "cuda" else ROWS_CPU
        self._near = NEAR.get(network.dtype, NEAR_ROUNDED)
        self._writer = Writer(network, tokenizer.text, _ends(network.model, tokenizer.own))

    def render(self, ask: Ask) -> str:
        """The prompt, in chat form or plain."""
        return rendering.chat(ask, self._tokenizer.turn) if self._chat else rendering.plain(ask)

    def stops(self, ask: Ask) -> tuple[str, ...]:
        """The stop strings that go with the form."""
        return ask.chat_stop if self._chat else ask.stop

    def tokens(self, prompt: str) -> list[int]:
        """The ids that the model sees."""
        return self._tokenizer.ids(prompt, special=not self._chat)

    def cut(self, text: str, n: int) -> str:
        """The text of its first n tokens, without special ones."""
        return self._tokenizer.cut(text, n)

    def answers(self, requests: Sequence[Request], done: Set[int]) -> Iterator[list[tuple[int, Answer]]]:
        """Answers batch by batch. See `caravan.eval.model.Model`."""
        reading, writing, refused = list[Row](), list[Row](), list[tuple[int, Answer]]()
        for number, request in enumerate(requests):
            rows = self._rows_of(number, request)
            error = self._too_long(rows, request)
            if error:
                refused.append((number, Answer(ended="failed", error=error)))
            else:
                (reading if request.choices else writing).extend(rows)
        refused = [one for one in refused if one[0] not in done] if not self._rank else []
        if refused:
            yield refused
        yield from self._read(requests, reading, done)
        yield from self._write(requests, writing, done)

    def _rows_of(self, number: int, request: Request) -> list[Row]:
        """What goes through the model for a request: one row, or one a choice where choices have several tokens."""
        prompt = tuple(self.tokens(request.prompt))
        if not request.choices:
            return [Row(number, 0, prompt)]
        whole = [tuple(self.tokens(request.prompt + choice)) for choice in request.choices]
        # As in lm-eval, a choice is what its prompt's ids leave: where the two merge, the border moves.
        cuts = [min(len(prompt), len(ids) - 1) for ids in whole]
        rows = [Row(number, n, ids[:cut], ids[cut:]) for n, (ids, cut) in enumerate(zip(whole, cuts, strict=True))]
        if all(len(row.targets) == 1 and row.ids == rows[0].ids for row in rows):
            return [Row(number, 0, rows[0].ids, tuple(row.targets[0] for row in rows), each=True)]
        return [replace(row, ids=row.ids + row.targets[:-1]) for row in rows]

    def _too_long(self, rows: Sequence[Row], request: Request) -> str:
        longest = max((len(row.ids) for row in rows), default=0)
        if not all(row.ids for row in rows):
            return "an empty prompt"
        if self.context is not None and longest + request.new_tokens > self.context:
            return f"{longest:,} tokens and {request.new_tokens:,} new ones are more than the model's {self.context:,}"
        return ""

    def _share(
        self, rows: Sequence[Row], room: int, extra: int = 0, most: int = 1 << 30
    ) -> tuple[list[list[Batch]], set[int]]:
        if not self._network.reuses:  # each alone, whole
            groups = [[Batch((row,), 0)] for row in sorted(rows, key=lambda r: (r.ids, r.number, r.choice))]
        else:
            groups = plan(rows, room, extra, most, even=self._network.windowed)
        return share(groups, self._rank, self._world)

    def _read(
        self, requests: Sequence[Request], rows: Sequence[Row], done: Set[int]
    ) -> Iterator[list[tuple[int, Answer]]]:
        """The log-probabilities of choices. A request is answered when all of its choices are read."""
        found: dict[int, dict[int, float]] = {}
        groups, own_numbers = self._share(rows, self._reading)
        for batch, beginning in self._batches(groups, done):
            complete = []
            for row, logprobs in zip(batch.rows, self._logprobs(batch, beginning), strict=True):
                if row.number not in own_numbers:
                    continue
                own = found.setdefault(row.number, {})
                own.update(enumerate(logprobs) if row.each else [(row.choice, sum(logprobs))])
                if len(own) == len(requests[row.number].choices):
                    values = found.pop(row.number)
                    complete.append((row.number, [values[n] for n in range(len(values))]))
            if complete:
                yield [(number, self._chosen(number, requests[number], values)) for number, values in complete]

    def _logprobs(self, batch: Batch, beginning: Beginning | None) -> list[list[float]]:
        """For each row the log-probability of its targets; out of memory, half of the rows at a time."""
        last = max(1 if row.each else len(row.targets) for row in batch.rows)
        rows = [row.ids[batch.prefix :] for row in batch.rows]
        try:
            logits = self._network.logits(rows, beginning, min(last, max(map(len, rows))))
        except torch.OutOfMemoryError:
            if len(batch.rows) == 1:
                raise UserError("a single prompt does not fit the GPU", fix="use a GPU with more memory") from None
            torch.cuda.empty_cache()
            half = len(batch.rows) // 2
            parts = (Batch(batch.rows[:half], batch.prefix), Batch(batch.rows[half:], batch.prefix))
            return [one for part in parts for one in self._logprobs(part, beginning)]
        return [_of_targets(row, logits[n]) for n, row in enumerate(batch.rows)]

    def _chosen(self, number: int, request: Request, logprobs: list[float]) -> Answer:
        """The answer; where two choices lie too near, read alone, so that the verdict hangs on nothing else."""
        if not all(map(_finite, logprobs)):
            return Answer(ended="failed", error="the model's logits are not finite")
        best = sorted(logprobs, reverse=True)
        if len(best) < 2 or best[0] - best[1] >= self._near:
            return Answer(logprobs=tuple(logprobs))
        alone = [self._logprobs(Batch((row,), 0), None)[0] for row in self._rows_of(number, request)]
        return Answer(logprobs=tuple(alone[0]) if len(alone) == 1 else tuple(map(sum, alone)), near_tie=True)

    def _write(
        self, requests: Sequence[Request], rows: Sequence[Row], done: Set[int]
    ) -> Iterator[list[tuple[int, Answer]]]:
        longest = max((requests[row.number].new_tokens for row in rows), default=0)
        groups, _ = self._share(rows, self._writing, longest, self._rows)
        for batch, beginning in self._batches(groups, done):
            yield self._written(requests, batch, beginning)

    def _written(
        self, requests: Sequence[Request], batch: Batch, beginning: Beginning | None
    ) -> list[tuple[int, Answer]]:
        own = [requests[row.number] for row in batch.rows]
        try:
            answers = self._writer.write([row.ids[batch.prefix :] for row in batch.rows], own, beginning)
        except torch.OutOfMemoryError:
            if len(batch.rows) == 1:
                raise UserError("a single prompt does not fit the GPU", fix="use a GPU with more memory") from None
            torch.cuda.empty_cache()
            half = len(batch.rows) // 2
            parts = (Batch(batch.rows[:half], batch.prefix), Batch(batch.rows[half:], batch.prefix))
            return [one for part in parts for one in self._written(requests, part, beginning)]
        found = []
        for row, request, answer in zip(batch.rows, own, answers, strict=True):
            near = answer.near_tie and request.temperature == 0 and self._network.dtype == torch.float32
            if near and (len(batch.rows) > 1 or batch.prefix):
                answer = replace(self._writer.write([row.ids], [request], None)[0], near_tie=True)
            found.append((row.number, answer if near else replace(answer, near_tie=False)))
        return found

    def _batches(self, groups: Sequence[Sequence[Batch]], done: Set[int]) -> Iterator[tuple[Batch, Beginning | None]]:
        """The batches that have something to answer, each with what it shares, read once a group."""
        for group in groups:
            beginning: Beginning | None = None
            for batch in group:
                if all(row.number in done for row in batch.rows):
                    continue
                if batch.prefix and beginning is None:
                    beginning = self._network.read(batch.rows[0].ids[: batch.prefix])
                yield batch, beginning


def _of_targets(row: Row, logits: torch.Tensor) -> list[float]:
    """The log-probabilities of a row's targets, in fp32, from the logits [last, vocabulary] of its last ids."""
    if row.each:
        return [float(x) for x in logits[-1].float().log_softmax(-1)[list(row.targets)]]
    own = logits[-len(row.targets) :].float().log_softmax(-1)
    return [float(own[n, token]) for n, token in enumerate(row.targets)]


def _finite(value: float) -> bool:
    return value == value and value not in (float("inf"), float("-inf"))


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """The ids that end an answer: those of the generation config, and the tokenizer's own."""
    named = getattr(model.generation_config, "eos_token_id", None)
    ids = {*(named if isinstance(named, list) else [named]), tokenizer.eos_token_id}
    return frozenset(i for i in ids if i is not None)
