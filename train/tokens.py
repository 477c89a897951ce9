"""Rows to token ids, once, with the mask that says what carries loss; cached by what it was made from."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from caravan.cache import key
from caravan.converters.schema import Message
from caravan.errors import UserError
from caravan.terminal import Progress
from caravan.train import token_files
from caravan.train.encode import Encoded, Encoder
from caravan.train.rows import Rows
from caravan.train.template import Refused, Rendered, Template

VERSION = 1  # of what stands in the cache: raise it when ids, masks or records change
LENGTHS = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072)
_CHUNK_ROWS, _CHUNK_CHARACTERS = 2048, 4_000_000  # encoded at a time, which bounds the memory

Row = tuple[list[Message], list[int] | None]


@dataclass(frozen=True)
class SourceTokens:
    """What became of one source's tokens. `rows` = used + left out (by code)."""

    rows: int
    used: int
    left_out: dict[str, int]
    tokens: int
    supervised: int
    cut_tokens: int  # tokens that max_length cut away, those of rows left out as too long among them
    cut_supervised: int  # of these, such as would have carried loss
    cut_rows: int  # used rows that were cut
    cut_inside: int  # rows cut inside their first answer, as not even that fits
    notes: dict[
        str, int
    ]  # rows, by what was noticed: assistant_first, special_in_text, not_decoded_back, rewritten, ...


@dataclass(frozen=True)
class Tokens:
    """Tokenised rows. Row `i` holds `ids[offsets[i]:offsets[i + 1]]`; rows without supervision are not in it.

    `turns` is as long as `ids`: 0 where a token carries no loss, else the number (from 1, at most 255) of the assistant
    turn that it belongs to. The first token of a row never carries loss. Arrays are read-only memory maps of the cache.

    `records` has one record a row of the Rows frame, used or not: `source`, `row_id`, `kept` (tokens; 0: left out),
    `length` (tokens before max_length cut), `firsts` and `afters` (first token of each answer, and the one after its
    last, before the cut), `code` and `detail` (why it was left out, or null), `notes`.
    """

    ids: npt.NDArray[np.int32]
    turns: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    source: npt.NDArray[np.int16]  # index into `sources`
    sources: list[str]
    row: npt.NDArray[np.int64]  # the row's number in the Rows frame
    row_ids: list[str]
    account: dict[str, SourceTokens]
    fingerprint: str
    records: pl.DataFrame

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each row."""
        return np.diff(self.offsets)

    @property
    def left_out(self) -> pl.DataFrame:
        """Rows that are not trained on: `row_id`, `source`, `code`, `detail`."""
        return self.records.filter(pl.col("code").is_not_null()).select("row_id", "source", "code", "detail")

    @property
    def noted(self) -> pl.DataFrame:
        """Rows of which something was noticed, one record a note: `row_id`, `source`, `note`, `used`."""
        seen = self.records.select(
            "row_id", "source", pl.col("notes").alias("note"), pl.col("code").is_null().alias("used")
        )
        return seen.filter(pl.col("note").list.len() > 0).explode("note")


def tokenise(
    rows: Rows, tokenizer: Any, template: Template, max_length: int, progress: Progress, group: int = 1
) -> Tokens:
    """Tokenise all rows in parallel, or take what was made before from the same rows, template and tokenizer.

    A conversation longer than `max_length` is cut after the last answer that fits; inside its first answer where not
    even that fits. `group` neighbours (2: the rows of a pair) are used or left out together. It may be that no row is
    left: `left_out` says why.
    """
    encoder = Encoder(tokenizer)
    name = key(VERSION, rows.content_hash, template.fingerprint, encoder.fingerprint, max_length, group)
    stored = token_files.read(name)
    if stored is None:
        if token_files.folder_of(name).exists():
            progress.say(f"{token_files.folder_of(name)}: damaged, made again")
        _make(name, rows, encoder, template, max_length, progress, group)
        stored = token_files.read(name)
    if stored is None:
        raise UserError(
            "files were changed while they were read",
            where=str(token_files.folder_of(name)),
            fix="run it again, with nothing else emptying the cache",
        )
    records = pl.concat([rows.frame.select("source", "row_id"), stored.records], how="horizontal")
    used = records.with_row_index("row").filter(pl.col("code").is_null())
    sources = sorted(records["source"].unique())
    numbers = pl.Enum(sources)
    return Tokens(
        ids=stored.ids,
        turns=stored.turns,
        offsets=np.concatenate([[0], np.cumsum(used["kept"].to_numpy())]).astype(np.int64),
        source=used["source"].cast(numbers).to_physical().cast(pl.Int16).to_numpy(),
        sources=sources,
        row=used["row"].cast(pl.Int64).to_numpy(),
        row_ids=used["row_id"].to_list(),
        account={source: _account(records.filter(pl.col("source") == source), max_length) for source in sources},
        fingerprint=name,
        records=records,
    )


def supervised_at(records: pl.DataFrame, length: int, plain: bool = False) -> npt.NDArray[np.int64]:
    """Supervised tokens that each row keeps at a maximal length: cut as `tokenise` does, or at that very token (plain).

    Of `Tokens.records`; rows that were left out for another reason than their length have none.
    """
    taken = pl.col("code").is_null() | (pl.col("code") == "too_long")
    answers = records.select(
        pl.int_range(pl.len()).alias("row"),
        pl.when(taken).then("firsts").otherwise(pl.lit([], pl.List(pl.Int32))).alias("first"),
        pl.when(taken).then("afters").otherwise(pl.lit([], pl.List(pl.Int32))).alias("after"),
    )
    flat = answers.explode("first", "after").drop_nulls()
    row, first, after = (flat[name].to_numpy().astype(np.int64) for name in ("row", "first", "after"))
    kept = np.clip(np.minimum(after, length) - first, 0, None)
    if not plain:
        leads = np.diff(row, prepend=-1) != 0  # the first answer of its row, which alone is cut inside
        kept = np.where((after <= length) | leads, kept, 0)
    return np.bincount(row, weights=kept, minlength=records.height).astype(np.int64)


def recommend_length(records: pl.DataFrame, share: float = 0.99) -> int:
    """The smallest usual length (512, 1024, ...) that keeps this share of the supervised tokens of `Tokens.records`."""
    everything = int(supervised_at(records, np.iinfo(np.int32).max).sum())
    kept = (length for length in LENGTHS if supervised_at(records, length).sum() >= share * everything)
    return next(kept, LENGTHS[-1])


def _make(
    name: str, rows: Rows, encoder: Encoder, template: Template, max_length: int, progress: Progress, group: int
) -> None:
    with token_files.written(name) as writer:
        chunks = progress.track(_chunks(rows.frame, group), "tokenise", rows.frame.height, "rows", size=len)
        for chunk in chunks:
            outcomes = [_render(template, messages, weights) for messages, weights in chunk]
            encoded = iter(encoder.encode([outcome for outcome in outcomes if isinstance(outcome, Rendered)]))
            done = [next(encoded) if isinstance(outcome, Rendered) else outcome for outcome in outcomes]
            records = [_record(row, max_length) for row in done]
            _keep_together(records, group)
            for record, row, (messages, _) in zip(records, done, chunk, strict=True):
                if record["code"] is None and isinstance(row, Encoded):
                    kept = record["kept"]
                    writer.add(row.ids[:kept], _turns(row, messages)[:kept])
            writer.records(records)


def _chunks(frame: pl.DataFrame, group: int) -> Iterator[list[Row]]:
    """Rows in order, some at a time; a group is never divided."""
    chunk: list[Row] = []
    characters = 0
    for messages, weights in frame.select("messages", "weights").iter_rows():
        full = len(chunk) >= _CHUNK_ROWS or characters >= _CHUNK_CHARACTERS
        if full and len(chunk) % group == 0:
            yield chunk
            chunk, characters = [], 0
        chunk.append((messages, weights))
        characters += sum(len(message["content"]) for message in messages)
    if chunk:
        yield chunk


def _render(template: Template, messages: list[Message], weights: list[int] | None) -> Rendered | Refused:
    try:
        return template.render(messages, weights)
    except Refused as refused:
        return refused


def _record(row: Encoded | Refused, max_length: int) -> dict[str, Any]:
    """What is said of a row, as `token_files` stores it."""
    if isinstance(row, Refused):
        lost: dict[str, Any] = {"kept": 0, "length": 0, "firsts": [], "afters": [], "notes": []}
        return lost | {"code": row.code, "detail": row.detail}
    firsts, afters = [first for first, _, _ in row.answers], [after for _, after, _ in row.answers]
    kept, notes, code, detail = 0, row.notes, None, None
    if not row.answers:
        code, detail = "nothing_supervised", "no answer in it carries loss"
    else:
        kept = _cut(len(row.ids), firsts, afters, max_length)
        if kept == 0:
            code, detail = "too_long", f"{firsts[0]:,} tokens stand before its first answer"
        elif kept < len(row.ids) and kept not in afters:
            notes = [*notes, "cut_inside"]
    told = {"kept": kept, "length": len(row.ids), "firsts": firsts, "afters": afters, "notes": notes}
    return told | {"code": code, "detail": detail}


def _cut(length: int, firsts: Sequence[int], afters: Sequence[int], max_length: int) -> int:
    """How many tokens of a row are kept: whole turns up to an answer; of a first answer that is too long, what fits."""
    if length <= max_length:
        return length
    fitting = [after for after in afters if after <= max_length]
    if fitting:
        return fitting[-1]
    return max_length if firsts[0] < max_length else 0


def _keep_together(records: list[dict[str, Any]], group: int) -> None:
    for start in range(0, len(records), group):
        together = records[start : start + group]
        reason = next((record["code"] for record in together if record["code"] is not None), None)
        for record in together:
            if reason is not None and record["code"] is None:
                record |= {"kept": 0, "code": "partner_left_out", "detail": f"the other one: {reason}"}


def _turns(row: Encoded, messages: Sequence[Message]) -> npt.NDArray[np.uint8]:
    turns = np.zeros(len(row.ids), np.uint8)
    for first, after, message in row.answers:
        turn = sum(earlier["role"] == "assistant" for earlier in messages[: message + 1])
        turns[first:after] = min(turn, 255)
    return turns


def _account(records: pl.DataFrame, max_length: int) -> SourceTokens:
    codes, notes = Counter(records["code"].drop_nulls().to_list()), Counter(records["notes"].explode().drop_nulls())
    used = records["code"].is_null()
    long = records.filter(pl.col("code").is_null() | (pl.col("code") == "too_long"))
    supervised = int(supervised_at(records.filter(used), max_length).sum())
    return SourceTokens(
        rows=records.height,
        used=int(used.sum()),
        left_out=dict(sorted(codes.items())),
        tokens=int(records["kept"].sum()),
        supervised=supervised,
        cut_tokens=int((long["length"] - long["kept"]).sum()),
        cut_supervised=int(supervised_at(long, np.iinfo(np.int32).max).sum()) - supervised,
        cut_rows=int((used & (records["kept"] < records["length"])).sum()),
        cut_inside=notes.pop("cut_inside", 0),
        notes=dict(sorted(notes.items())),
    )
