"""A model that is computed here: a Hugging Face folder, or a name on the hub, on the CPU or on GPUs.

What many prompts begin with is computed once (`prefix`), letters are read off one position, texts are written in
batches that rows leave when they end (`batches`, `likelihood`, `writing`, `network`).

What does not depend on batches, on the number of processes, on what was answered before: in fp32, which choice is the
likeliest, and every text. Sums of the same numbers in another order differ in their last bits (some 1e-5 here), so a
choice whose best two log-probabilities, or a text that somewhere has two next tokens, lie nearer to each other than
1e-4 is asked again, alone and whole, and marked `near_tie`: what comes of that depends on nothing but the prompt. The
log-probabilities themselves may differ in their last bits. In bf16, where a logit of 10 is rounded to 16ths, choices
nearer than `NEAR_BF16` are asked again; texts are not, for most have a near tie somewhere, so a text, greedy as it is,
may differ between two sizes of batches. With the same settings all is the same, bit by bit, however often a run is
killed, unless memory has become so scarce meanwhile that batches are smaller.
"""

import gc
import os
import sys
from array import array
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from caravan.cache import key
from caravan.errors import UserError
from caravan.eval import rendering
from caravan.eval.benchmark import Answer, Ask
from caravan.eval.model import Request
from caravan.eval.models.batches import Batch, Job, plan, share
from caravan.eval.models.likelihood import choices, letters, near_tie
from caravan.eval.models.memory import limits, out_of_memory
from caravan.eval.models.network import NOTES, Beginning, Network, load
from caravan.eval.models.tokenizer import PromptTokenizer, model_folder
from caravan.eval.models.writing import Writer
from caravan.train.hub import fingerprint

NEAR, NEAR_BF16 = 1e-4, 0.13
ENCODED = 1000  # texts that are given to the tokenizer at once


def open_model(
    name: str,
    *,
    form: str = "auto",
    dtype: str = "auto",
    batch_tokens: int | None = None,
    rank: int = 0,
    world: int = 1,
) -> "LocalModel":
    """Load a model: `name` is a folder, a run of `train`, or OWNER/NAME[@REVISION] on the hub.

    `form`: "chat", "plain", "tulu" (the paper's turns), or "auto": chat where the tokenizer has a chat template.
    `dtype`: "float32", "bfloat16", or "auto": bfloat16 on a GPU, float32 on a CPU. `batch_tokens`: tokens of a batch,
    prompts and answers, padding and all; without it what is fast and fits into memory. Of `world` processes this is
    number `rank`, and answers its share of the requests.
    Raises `UserError` for what is no such model, or lacks the template that is asked for.
    """
    folder = model_folder(name, weights=True)
    tokenizer = PromptTokenizer(str(folder), tulu=form == "tulu")
    if form == "chat" and not tokenizer.has_template:
        raise UserError("the tokenizer has no chat template", where=name, fix="use --form plain, or --form tulu")
    chat = tokenizer.has_template and form != "plain"
    if chat:
        tokenizer.turn("Hello")  # a template that takes no question should say so now
    device = _device()
    precise = dtype == "float32" or (dtype == "auto" and device.type == "cpu")
    network = load(folder, torch.float32 if precise else torch.bfloat16, device)
    return LocalModel(name, folder, tokenizer, network, chat=chat, batch_tokens=batch_tokens, rank=rank, world=world)


class LocalModel:
    """See the module; `caravan.eval.model.Model` has the contract. `notes` say what is slow with this model."""

    def __init__(
        self,
        name: str,
        folder: Path,
        tokenizer: PromptTokenizer,
        network: Network,
        *,
        chat: bool,
        batch_tokens: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.name = name
        self.context = _context(network.config, folder)
        self.notes = [note] if (note := NOTES[network.way]) else []
        self._tokenizer, self._network, self._chat = tokenizer, network, chat
        self._rank, self._world = rank, world
        self._ends = _ends(network.model, tokenizer.own)
        self._precise = network.dtype == torch.float32
        self._near = NEAR if self._precise else NEAR_BF16
        self._writer = Writer(network, tokenizer.text, self._ends, NEAR if self._precise else 0.0)
        self._limits = limits(network, batch_tokens)
        self._ids: dict[str, array[int]] = {}
        how = f"{'chat' if chat else 'plain'}, {str(network.dtype).removeprefix('torch.')}"
        self.identity = f"{key(fingerprint(folder), tokenizer.fingerprint, sorted(self._ends))}, {how}"

    def render(self, ask: Ask) -> str:
        """The prompt, in chat form or plain."""
        return rendering.chat(ask, self._tokenizer.turn) if self._chat else rendering.plain(ask)

    def stops(self, ask: Ask) -> tuple[str, ...]:
        """The stop strings that go with the form."""
        return ask.chat_stop if self._chat else ask.stop

    def tokens(self, prompt: str) -> list[int]:
        """The ids that the model sees, special tokens included."""
        self._encode([prompt])
        return self._ids[prompt].tolist()

    def cut(self, text: str, n: int) -> str:
        """The text of its first n tokens; `PromptTokenizer.cut` says which."""
        return self._tokenizer.cut(text, n)

    def answers(self, requests: Sequence[Request], done: Set[int]) -> Iterator[list[tuple[int, Answer]]]:
        """Answer a batch at a time; see the module, and `batches` for what is computed with what.

        A batch is computed if one of its answers is missing. A prompt that leaves the answer no room in the model's
        context, and one that does not fit into memory even alone, gives a failed answer.
        """
        jobs = self._jobs(requests)
        fitting = [n for n, job in enumerate(jobs) if isinstance(job, Job)]
        told = [(n, job) for n, job in enumerate(jobs) if isinstance(job, Answer) and n not in done]
        if told and not self._rank:
            yield told
        known = [job for job in jobs if isinstance(job, Job)]
        stack = _Beginnings(self._network)
        for batch in share(plan(known, self._limits), self._rank, self._world):
            numbers = [fitting[n] for n in batch.members]
            if all(n in done for n in numbers):
                continue
            found = self._batch(batch, known, [requests[n] for n in numbers], stack)
            yield [(n, answer) for n, answer in zip(numbers, found, strict=True) if n not in done]

    def _batch(
        self, batch: Batch, jobs: Sequence[Job], requests: Sequence[Request], stack: "_Beginnings"
    ) -> list[Answer]:
        """The answers of a batch; in halves where it does not fit into memory."""
        own = [jobs[n] for n in batch.members]
        try:
            return self._settled(batch, own, requests, stack)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        stack.clear()
        if self._network.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()
        if len(own) == 1:
            return [Answer(ended="failed", error="out of memory, even alone")]
        half = len(own) // 2
        parts = slice(0, half), slice(half, len(own))
        halves = [(replace(batch, members=batch.members[part]), requests[part]) for part in parts]
        return [answer for some, asked in halves for answer in self._batch(some, jobs, asked, stack)]

    def _settled(
        self, batch: Batch, jobs: Sequence[Job], requests: Sequence[Request], stack: "_Beginnings"
    ) -> list[Answer]:
        """The answers of a batch, those that rounding may have decided asked again."""
        before, cut = stack.of(jobs[0].ids, batch.cuts)
        found = self._computed(batch, before, jobs, requests, cut, settle=False)
        for n, (answer, job) in enumerate(zip(found, jobs, strict=True)):
            if answer.near_tie or (answer.logprobs and near_tie(answer, job, self._near)):
                (again,) = self._computed(batch, None, [job], [requests[n]], 0, settle=True)
                found[n] = replace(again, near_tie=True)
        return found

    def _computed(
        self,
        batch: Batch,
        before: Beginning | None,
        jobs: Sequence[Job],
        requests: Sequence[Request],
        cut: int,
        *,
        settle: bool,
    ) -> list[Answer]:
        if batch.kind == "letters":
            return letters(self._network, before, jobs, cut)
        if batch.kind == "choices":
            return [choices(self._network, before, job, cut) for job in jobs]
        return self._writer.write(before, jobs, requests, cut, settle=settle)

    def _jobs(self, requests: Sequence[Request]) -> list[Job | Answer]:
        """Each request as ids, or as a failed answer where it does not fit into the model's context."""
        self._ids.clear()
        texts: dict[str, None] = {}
        for request in requests:
            prompt, moved = _bare(request)
            texts |= dict.fromkeys([prompt, *(prompt + moved + choice for choice in request.choices)])
        self._encode([*texts])
        jobs = [self._job(request) for request in requests]
        kept = {_bare(request)[0] for request in requests}
        for text in [text for text in texts if text not in kept]:
            del self._ids[text]
        return jobs

    def _job(self, request: Request) -> Job | Answer:
        prompt, moved = _bare(request)
        ids: Sequence[int] = self._ids[prompt] or array("i", self._nothing())
        room = sys.maxsize if self.context is None else self.context - len(ids)
        if not request.choices:
            if room < 1:
                return self._too_long(len(ids), 1)
            return Job(ids, new=max(min(request.new_tokens, room), 1))
        found = []
        for choice in request.choices:
            own = self._ids[prompt + moved + choice][len(self._ids[prompt]) :].tolist()
            found.append(tuple(own or self._tokenizer.ids(moved + choice, special=False)))
        longest = max(map(len, found))
        if not all(found):
            return Answer(ended="failed", error="a choice has no tokens of its own")
        if longest - 1 > room:
            return self._too_long(len(ids), longest)
        return Job(ids, tuple(found))

    def _too_long(self, prompt: int, answer: int) -> Answer:
        what = f"too long: {prompt:,} tokens and an answer of at least {answer:,}, the model takes {self.context:,}"
        return Answer(ended="failed", error=what)

    def _nothing(self) -> list[int]:
        """What stands for an empty prompt: a model must have something to go on from."""
        own = self._tokenizer.own
        return [next((n for n in (own.bos_token_id, own.eos_token_id) if n is not None), 0)]

    def _encode(self, texts: Sequence[str]) -> None:
        """Remember the ids of texts; plain ones with what the tokenizer puts before a text, if it is not there yet."""
        own = self._tokenizer.own
        bos = own.bos_token or ""
        new = [text for text in texts if text not in self._ids]
        for special in (True, False):
            some = [text for text in new if special != (self._chat or (bos != "" and text.startswith(bos)))]
            for start in range(0, len(some), ENCODED):
                part = some[start : start + ENCODED]
                encoded = own(part, add_special_tokens=special)["input_ids"]
                for text, ids in zip(part, encoded, strict=True):
                    if special and ids and ids[-1] == own.eos_token_id and not text.endswith(own.eos_token):
                        ids = ids[:-1]  # some put an EOS behind every text, which would end the prompt
                    self._ids[text] = array("i", ids)


class _Beginnings:
    """The computed beginnings that the batches at hand share, the shortest first."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._stack: list[tuple[Sequence[int], Beginning]] = []

    def of(self, ids: Sequence[int], cuts: Sequence[int]) -> tuple[Beginning | None, int]:
        """The beginning of a prompt up to the last cut, and its length; what is missing is computed."""
        kept = 0
        for (own, beginning), cut in zip(self._stack, cuts, strict=False):
            if beginning.length != cut or own != ids[:cut]:
                break
            kept += 1
        del self._stack[kept:]
        before = self._stack[-1][1] if self._stack else None
        for cut in cuts[kept:]:
            before, _ = self._network.begin(before, ids[before.length if before else 0 : cut])
            self._stack.append((ids[:cut], before))
        return before, cuts[-1] if cuts else 0

    def clear(self) -> None:
        """Forget them."""
        self._stack.clear()


def _bare(request: Request) -> tuple[str, str]:
    """The prompt, and the spaces at its end that belong to the choices: tokens hold a word with its space."""
    prompt = request.prompt.rstrip() if request.choices else request.prompt
    return prompt, request.prompt[len(prompt) :]


def _device() -> torch.device:
    """The GPU of this process, if there are any."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    local = int(os.environ.get("LOCAL_RANK", 0))
    return torch.device("cuda", local if local < torch.cuda.device_count() else 0)


def _context(config: Any, folder: Path) -> int | None:
    """Tokens that the model takes; None where neither config nor tokenizer says."""
    import json

    names = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")
    found = [value for name in names if isinstance(value := getattr(config, name, None), int) and value > 0]
    try:
        told = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("model_max_length")
    except (OSError, ValueError, AttributeError):
        told = None
    if isinstance(told, int) and 0 < told < 1 << 30 and not found:
        return told
    return found[0] if found else None


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """The ids that end a text, by the generation config, the config and the tokenizer."""
    found: set[int] = set()
    for said in (model.generation_config, model.config, tokenizer):
        value = getattr(said, "eos_token_id", None)
        found |= set(value if isinstance(value, list) else [] if value is None else [value])
    return frozenset(found)
