"""Rows as training sees them, token by token, for `train show`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from caravan.errors import UserError, did_you_mean
from caravan.terminal import Progress
from caravan.train import hub
from caravan.train.chat_template import template_for
from caravan.train.config import TrainConfig
from caravan.train.encode import Encoded, Encoder
from caravan.train.lengths import kept_at
from caravan.train.rows import read_rows
from caravan.train.template import Refused, Template

LONGEST_CHARACTER = 8  # tokens that one character is spread over, at most


@dataclass(frozen=True)
class Piece:
    """The text of a token, or of the few that make up one character. `turn` numbers the answer, 0: no loss."""

    text: str
    turn: int
    special: bool
    kept: bool


@dataclass(frozen=True)
class Example:
    """One row. `code` says why it is left out; `kept` tokens are trained on, `supervised` of these carry loss."""

    row_id: str
    source: str
    pieces: list[Piece]
    tokens: int
    kept: int
    supervised: int
    cut_supervised: int
    answers: int
    code: str | None
    detail: str
    notes: list[str]


def examples(config: TrainConfig, progress: Progress, number: int = 3, source: str | None = None) -> list[Example]:
    """Some rows of the run's data (of one source), drawn by the run's seed, in the file's order."""
    from caravan.train.prepare import read_tokenizer

    tokenizer = read_tokenizer(hub.find_model(config.model, weights=False))
    template = template_for(config.template, tokenizer)
    frame = read_rows(config.data, progress).frame
    if source is not None:
        known = frame["source"].unique().to_list()
        frame = frame.filter(pl.col("source") == source)
        if not frame.height:
            raise UserError(f"no source {source!r}", where=config.data, fix=did_you_mean(source, known))
    keys = np.random.Philox(key=np.array([config.seed, 2**34], np.uint64)).random_raw(frame.height)
    chosen = sorted(np.argsort(keys, kind="stable")[:number].tolist())
    return [_example(row, tokenizer, template, config.max_length) for row in frame[chosen].iter_rows(named=True)]


def _example(row: dict[str, Any], tokenizer: Any, template: Template, max_length: int) -> Example:
    messages, weights = row["messages"], row["weights"]
    try:
        rendered = template.render(messages, weights)
        (encoded,) = Encoder(tokenizer).encode([rendered])
    except Refused as refused:
        encoded = refused
    if isinstance(encoded, Refused):
        return Example(row["row_id"], row["source"], [], 0, 0, 0, 0, 0, encoded.code, encoded.detail, [])
    kept, code, detail = _kept(encoded, max_length)
    turns = np.zeros(len(encoded.ids), np.int64)
    for first, after, message in encoded.answers:
        turns[first:after] = sum(earlier["role"] == "assistant" for earlier in messages[: message + 1])
    pieces = list(_pieces(tokenizer.backend_tokenizer, encoded.ids.tolist(), turns.tolist(), kept))
    return Example(
        row_id=row["row_id"],
        source=row["source"],
        pieces=pieces,
        tokens=len(encoded.ids),
        kept=kept,
        supervised=int((turns[:kept] > 0).sum()),
        cut_supervised=int((turns[kept:] > 0).sum()),
        answers=len(set(turns[:kept].tolist()) - {0}),
        code=code,
        detail=detail,
        notes=encoded.notes,
    )


def _kept(encoded: Encoded, max_length: int) -> tuple[int, str | None, str]:
    """Tokens that are trained on, and otherwise why none is."""
    if not encoded.answers:
        return len(encoded.ids), "nothing_supervised", "no answer in it carries loss"
    record = pl.DataFrame(
        {
            "length": [len(encoded.ids)],
            "firsts": [[first for first, _, _ in encoded.answers]],
            "afters": [[after for _, after, _ in encoded.answers]],
        }
    )
    kept = int(kept_at(record, max_length)[0])
    return (
        (kept, None, "") if kept else (0, "too_long", f"{encoded.answers[0][0]:,} tokens stand before its first answer")
    )


def _pieces(backend: Any, ids: Sequence[int], turns: Sequence[int], kept: int) -> Iterator[Piece]:
    """The text of each token: what it adds to that of the token before. A character's tokens are taken together."""
    special = {number for number, token in backend.get_added_tokens_decoder().items() if token.special}

    def decode(some: Sequence[int]) -> str:
        text: str = backend.decode(list(some), skip_special_tokens=False)
        return text

    before: Sequence[int] = ()
    at = 0
    while at < len(ids):
        lead, after = decode(before), at
        text = "\ufffd"
        while text.endswith("\ufffd") and after < min(len(ids), at + LONGEST_CHARACTER):
            after += 1
            both = decode([*before, *ids[at:after]])
            text = both[len(lead) :] if both.startswith(lead) else decode(ids[at:after])
        yield Piece(text, turns[at], ids[at] in special, at < kept)
        before, at = ids[at:after], after
