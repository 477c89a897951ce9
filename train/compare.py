"""Every answer that training would see, decoded and held against its message; and the header before it."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import TemplateError

from caravan.converters.schema import Message
from caravan.terminal import Progress
from caravan.train.chat_template import TODAY
from caravan.train.rows import Rows
from caravan.train.template import Template, adds_bos, carries_loss
from caravan.train.tokens import Tokens

CHUNK = 1024  # rows that are decoded at a time
MANY = 255  # turns that `Tokens.turns` tells apart
BEFORE = 40  # tokens before an answer that are read beside those of the prompt: an empty think block and some
_OPEN, _SHUT = "\ue000", "\ue001"
_THINK = re.compile(r"(\s|</?think>)+$")


@dataclass
class Compared:
    """How many answers were held against their messages, how many headers against prompts; and rows, by finding.

    A row is its number in `Tokens`; one that is in a finding several times has several answers of that kind.
    """

    answers: int = 0
    prompts: int = 0
    found: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))


@dataclass(frozen=True)
class _Answer:
    """Supervised tokens from `first` to before `after`: their row in `Tokens`, their message, whether they were cut."""

    row: int
    ids: npt.NDArray[np.int32]  # of the whole row
    first: int
    after: int
    messages: list[Message]
    message: int
    cut: bool

    def part(self, start: int, end: int) -> list[int]:
        """Ids of the row, from `start`, or from its first."""
        part: list[int] = self.ids[max(start, 0) : end].tolist()
        return part


def compare(rows: Rows, tokens: Tokens, tokenizer: Any, template: Template, progress: Progress) -> Compared:
    """Compare all rows of `tokens` with the messages that they were made from."""
    compared = Compared()
    checker = _Checker(tokenizer, template, compared)
    records = tokens.records[tokens.row]
    rewritten = records["notes"].list.contains("rewritten").to_numpy()
    whole = (records["length"] == records["kept"]).to_numpy()
    complete = whole & ~records["notes"].list.contains("answer_not_rendered").to_numpy()
    starts = range(0, len(tokens), CHUNK)
    for start in progress.track(starts, "compare", len(tokens), "rows", size=lambda n: min(CHUNK, len(tokens) - n)):
        numbers = range(start, min(start + CHUNK, len(tokens)))
        answers: list[_Answer] = []
        for number, (messages, weights) in zip(numbers, _messages(rows, tokens, numbers), strict=True):
            answers += checker.row(number, tokens, messages, weights, bool(whole[number]), bool(complete[number]))
        checker.answers(answers, rewritten)
    return compared


def _messages(rows: Rows, tokens: Tokens, numbers: range) -> Iterator[tuple[list[Message], list[int] | None]]:
    chosen = rows.frame.select("messages", "weights")[tokens.row[numbers.start : numbers.stop]]
    return iter(chosen.iter_rows())


class _Checker:
    def __init__(self, tokenizer: Any, template: Template, compared: Compared) -> None:
        self._tokenizer, self._template, self._compared = tokenizer, template, compared
        self._backend = tokenizer.backend_tokenizer
        added = self._backend.get_added_tokens_decoder()
        self._special = {number for number, token in added.items() if token.special}
        self._bos: int | None = tokenizer.bos_token_id
        self._adds_bos = adds_bos(tokenizer)
        self._bos_ends = self._bos is None or self._bos == tokenizer.eos_token_id or self._bos in template.stop_tokens
        self._tails: dict[tuple[str, ...], str | None] = {}

    def row(
        self,
        number: int,
        tokens: Tokens,
        messages: list[Message],
        weights: list[int] | None,
        whole: bool,
        complete: bool,
    ) -> Iterator[_Answer]:
        """The answers of a row, as its tokens have them; notes BOS, and answers that are missing or empty.

        `whole`: the row was not cut. `complete`: nor did the template leave any answer out.
        """
        piece = slice(int(tokens.offsets[number]), int(tokens.offsets[number + 1]))
        ids, turns = tokens.ids[piece], tokens.turns[piece]
        self._look_for_bos(number, ids)
        assistant = [n for n, message in enumerate(messages) if message["role"] == "assistant"]
        seen = set()
        for first, after in _runs(turns):
            turn = int(turns[first])
            if turn == MANY or turn > len(assistant):
                continue
            message = assistant[turn - 1]
            seen.add(message)
            cut = not whole and after == len(ids) and turn == int(turns[turns > 0][0])
            yield _Answer(number, ids, first, after, messages, message, cut)
        for message in assistant[: MANY - 1]:
            if carries_loss(messages, weights, message):
                if complete and message not in seen:
                    self._compared.found["answer_without_loss"].append(number)
                if not messages[message]["content"].strip():
                    self._compared.found["empty_answer"].append(number)

    def _look_for_bos(self, number: int, ids: npt.NDArray[np.int32]) -> None:
        if self._bos_ends:
            return
        places = np.flatnonzero(ids[:2] == self._bos).tolist()
        if self._adds_bos and places[:1] != [0]:
            self._compared.found["bos_missing"].append(number)
        if places == [0, 1]:
            self._compared.found["bos_doubled"].append(number)

    def answers(self, answers: Sequence[_Answer], rewritten: npt.NDArray[np.bool_]) -> None:
        """Hold answers against their messages, and what stands before them against the prompt."""
        self._compared.answers += len(answers)
        bare = self._decode([answer.part(answer.first, answer.after) for answer in answers])
        led = self._decode([answer.part(answer.first - 1, answer.after) for answer in answers])
        lead = self._decode([answer.part(answer.first - 1, answer.first) for answer in answers])
        for answer, alone, after, before in zip(answers, bare, led, lead, strict=True):
            # Some decoders take a first space away: what stands before the answer keeps it there.
            text = after[len(before) :] if after.startswith(before) else alone
            code = self._fault(answer, text, bool(rewritten[answer.row]))
            if code:
                self._compared.found[code].append(answer.row)
            if self._special & set(answer.part(answer.first, answer.after - 1)):
                self._compared.found["special_in_answer"].append(answer.row)
        self._prompts(answers)

    def _decode(self, ids: list[list[int]]) -> list[str]:
        decoded: list[str] = self._backend.decode_batch(ids, skip_special_tokens=False)
        return decoded

    def _fault(self, answer: _Answer, text: str, rewritten: bool) -> str | None:
        """What is wrong with an answer's tokens, whose text is `text`."""
        content = answer.messages[answer.message]["content"]
        last = int(answer.ids[answer.after - 1])
        if answer.cut and last not in self._template.stop_tokens:
            begun = _squeeze(text.rstrip("\ufffd"))
            return None if _squeeze(content).startswith(begun) else "not_decoded_back"
        if last not in self._template.stop_tokens:
            return "stop_untrained"
        stop = self._backend.decode([last], skip_special_tokens=False)
        body = text.removesuffix(stop)
        if body.strip() == content.strip():
            return None
        if _squeeze(body) == _squeeze(content):
            return "spaces_changed"
        if rewritten and _squeeze(body) in _squeeze(content):
            return None
        return "template_supervised" if content.strip() and content.strip() in body else "not_decoded_back"

    def _prompts(self, answers: Sequence[_Answer]) -> None:
        tails = [self._tail(tuple(m["role"] for m in answer.messages[: answer.message])) for answer in answers]
        known = [(answer, tail) for answer, tail in zip(answers, tails, strict=True) if tail is not None]
        windows = [answer.part(answer.first - len(tail.encode()) - BEFORE, answer.first) for answer, tail in known]
        for (answer, tail), window, text in zip(known, windows, self._decode(windows), strict=True):
            self._compared.prompts += 1
            spaced = _squeeze(text).endswith(_squeeze(tail)) and self._same_tokens(window, tail)
            if text.endswith(tail) or spaced:
                continue
            thinks = "think>" in text + tail and _THINK.sub("", text).endswith(_THINK.sub("", tail))
            self._compared.found["think_block" if thinks else "prompt_differs"].append(answer.row)

    def _same_tokens(self, window: list[int], tail: str) -> bool:
        """Whether the prompt's own tokens stand there: special tokens may swallow spaces, which decoding then lacks.

        The first token is not compared, as it may hang together with the text before it.
        """
        wanted: list[int] = self._backend.encode(tail, add_special_tokens=False).ids
        wanted = wanted[1:] or wanted
        return window[-len(wanted) :] == wanted

    def _tail(self, roles: tuple[str, ...]) -> str | None:
        """What the exported template writes after the last message of a prompt; None where it takes no such prompt."""
        if roles not in self._tails:
            placed = [{"role": role, "content": f"{_OPEN}{n}{_SHUT}"} for n, role in enumerate(roles)]
            try:
                text = self._tokenizer.apply_chat_template(
                    placed,
                    chat_template=self._template.chat_template,
                    tokenize=False,
                    add_generation_prompt=True,
                    strftime_now=TODAY.strftime,
                )
            except (TemplateError, TypeError, ValueError, LookupError):
                text = None
            self._tails[roles] = None if text is None else text[text.rfind(_SHUT) + 1 :]
        return self._tails[roles]


def _runs(turns: npt.NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """First token of each answer, and the one after its last."""
    edges = [0, *(np.flatnonzero(np.diff(turns)) + 1).tolist(), len(turns)]
    for first, after in pairwise(edges):
        if turns[first]:
            yield first, after


def _squeeze(text: str) -> str:
    return "".join(text.split())
