"""Exact and near duplicates, by prompt, by response, or by the whole conversation.

The prompt of a row is its user turns, the response its assistant turns, the conversation both in order. System and
tool texts are left out, so that rows that share a system prompt do not become one. What counts as equal: texts that
`words.digests` gives one hash, turn by turn. What counts as alike: the Jaccard similarity of `words.shingles`, over
the turns joined by a line break. An empty text is equal and alike to nothing.

Conversations are alike only if their responses are, too: at least half of the words that occur in either occur in
both. A long prompt with two short answers, or ten thousand questions under one long instruction, are not one row,
although most of their text is the same. Nor are they where the answers are the same few labels: shingles that 20 rows
and more hold are a template, and of a row that is mostly template the rest counts with the words of its response:
half of all these must be in both. A single word within a template is no rest: ten thousand rows that differ in a
number are look-alikes.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field, JsonValue

from caravan.curate import filter as contract
from caravan.curate import links as joining
from caravan.curate import words
from caravan.curate.links import Links
from caravan.curate.words import Shingles
from caravan.errors import UserError

Key: TypeAlias = Literal["prompt", "response", "conversation"]
ROLES: dict[Key, tuple[str, ...]] = {
    "prompt": ("user",),
    "response": ("assistant",),
    "conversation": ("user", "assistant"),
}
EXACT, NEAR = "exact_duplicate", "near_duplicate"

VERSION = 2
COLUMNS: dict[str, pl.DataType] = {
    **{f"duplicate_{key}": pl.String() for key in ROLES},
    **{f"duplicate_lsh_{key}": pl.List(pl.UInt64()) for key in ROLES},
}
TRY: dict[str, tuple[float, ...]] = {"near": (0.7, 0.8, 0.9, 1.0)}
REASONS = (EXACT, NEAR)

HALF = 0.5  # of the words of the responses, and of what is no template
TEMPLATE_ROWS = 20
"""So many rows do not hold one shingle by chance, and seldom are so many one text with slips."""

_SLICE = 10_000  # rows whose texts are copied at a time


class Settings(contract.Settings):
    """Which keys near duplicates are looked for by, how, and from which similarity.

    `floor`: no near limit may lie below it; a lower one finds more and takes longer. `index`: "lsh" finds at least
    999 in 1,000 pairs at the floor, and more above; "prefix" finds every one; "datasketch" is as "lsh", with that
    library's MinHash. `width`: tokens a shingle.
    """

    keys: tuple[Key, ...] = ("conversation",)
    index: Literal["lsh", "prefix", "datasketch"] = "lsh"
    floor: float = Field(default=0.7, gt=0, le=1)
    width: int = Field(default=5, ge=1)


class Limits(contract.Limits):
    """The keys by which equal rows are one, and those by which rows are one from the similarity `near` (None: off)."""

    exact: tuple[Key, ...] = ("conversation",)
    near: float | None = Field(default=0.8, gt=0, le=1)
    near_keys: tuple[Key, ...] = ("conversation",)


def fingerprint(settings: Settings) -> dict[str, JsonValue]:  # noqa: ARG001
    """How texts are folded and hashed."""
    return {"algorithm": words.ALGORITHM}


def measure(batch: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """For each key the 128-bit hash of the row's text, as 32 hexadecimal digits; null where there is no text.

    For the keys of the settings also the labels of the buckets that near duplicates are looked for in, with index
    "lsh": they are of the row alone, so that linking need not read all texts again.
    """
    turns = _turns(batch)
    hashes = words.digests(turns["content"])
    record = np.zeros(len(turns), [("role", "u1"), ("hash", "<u8", 2)])
    record["role"] = (turns["role"] == "assistant").to_numpy()
    record["hash"] = hashes
    row, text = turns["row"].to_numpy(), (hashes != 0).any(axis=1)
    return pl.DataFrame(
        {
            f"duplicate_{key}": _hexadecimal(batch.height, row[of], record[of], text[of])
            for key, roles in ROLES.items()
            for of in [turns["role"].is_in(roles).to_numpy()]
        }
        | {f"duplicate_lsh_{key}": _labels(batch, key, settings) for key in ROLES},
        schema=COLUMNS,
    )


def verdict(limits: Limits) -> pl.Expr:  # noqa: ARG001
    """Nothing: no row is a duplicate by itself."""
    return pl.lit(None, pl.String)


def link(rows: pl.DataFrame, settings: Settings) -> Sequence[Links]:
    """Equal rows by every key, then rows that may be alike by the keys of the settings.

    A key that the settings leave out has a floor that no limit reaches, so that `limit` can tell.
    """
    return [
        *(_equal(rows[f"duplicate_{key}"], key) for key in ROLES),
        *(_alike(rows, key, settings) for key in ROLES),
    ]


def limit(links: Links, limits: Limits) -> float | None:
    """Exact links count from 1; near ones from `near`, which raises `UserError` below the floor they were made for."""
    if links.reason == EXACT:
        return 1.0 if links.key in limits.exact else None
    if limits.near is None or links.key not in limits.near_keys:
        return None
    if math.isinf(links.floor):
        raise UserError(
            f"near duplicates are to be dropped by {links.key}, which was not looked at",
            where="filters.duplicates.near_keys",
            fix=f'add "{links.key}" to filters.duplicates.keys',
        )
    if limits.near < links.floor:
        raise UserError(
            f"near = {limits.near:g} is below floor = {links.floor:g}, from which pairs were looked for",
            where="filters.duplicates.near",
            fix=f"set filters.duplicates.floor = {limits.near:g} or lower",
        )
    return limits.near


def _turns(batch: pl.DataFrame) -> pl.DataFrame:
    """One line a user or assistant turn: row (0-based), role, content."""
    return (
        batch.lazy()
        .select(pl.int_range(pl.len()).alias("row"), "messages")
        .filter(pl.col("messages").list.len() > 0)
        .explode("messages")
        .unnest("messages")
        .filter(pl.col("role").is_in(ROLES["conversation"]))
        .select("row", "role", pl.col("content").fill_null(""))
        .collect()
    )


def _hexadecimal(
    rows: int, row: npt.NDArray[np.int64], record: npt.NDArray[np.void], text: npt.NDArray[np.bool_]
) -> list[str | None]:
    """One digest a row over the records of its turns, in order; None for rows without any text."""
    ends = np.cumsum(np.bincount(row, minlength=rows)) * record.itemsize
    filled = np.bincount(row, weights=text, minlength=rows) > 0
    data, start, out = memoryview(record.tobytes()), 0, list[str | None]()
    for end, some in zip(ends.tolist(), filled.tolist(), strict=True):
        out.append(blake2b(data[start:end], digest_size=16).hexdigest() if some else None)
        start = end
    return out


def _equal(column: pl.Series, key: Key) -> Links:
    """Rows of one hash: the two halves of it are the row's shingles, the first of them its bucket."""
    filled = column.is_not_null().to_numpy()
    halves = np.frombuffer(bytes.fromhex("".join(column.drop_nulls())), ">u8").astype(np.uint64).reshape(-1, 2)
    row, bucket = joining.shared(np.flatnonzero(filled), halves[:, 0])
    offsets = np.concatenate([[0], np.cumsum(filled * 2)])
    shingles = Shingles(np.sort(halves, axis=1).ravel(), offsets)
    return Links(key, EXACT, row, bucket, _only(shingles, row), floor=1.0)


def _alike(rows: pl.DataFrame, key: Key, settings: Settings) -> Links:
    if key not in settings.keys:
        none = np.empty(0, np.int64)
        nothing = Shingles(np.empty(0, np.uint64), np.zeros(rows.height + 1, np.int64))
        return Links(key, NEAR, none, none.astype(np.uint64), nothing, floor=math.inf)
    if settings.index == "lsh":
        labels = rows[f"duplicate_lsh_{key}"]
        sizes = labels.list.len().fill_null(0).to_numpy()
        row, bucket = joining.shared(np.repeat(np.arange(rows.height), sizes), labels.drop_nulls().explode().to_numpy())
        shingles = _shingles(rows, key, settings.width, row)
    else:
        shingles = _shingles(rows, key, settings.width)
        if settings.index == "prefix":
            row, bucket = joining.prefix_buckets(shingles, settings.floor)
        else:
            row, bucket = _datasketch_buckets(shingles, *joining.lsh_shape(settings.floor))
        shingles = _only(shingles, row)
    near = Links(key, NEAR, row, bucket, shingles, settings.floor)
    if key != "conversation":
        return near
    beside = _joined(_shingles(rows, "response", 1, row), _beyond_templates(shingles, settings.width))
    return replace(near, beside=beside, beside_limit=HALF)


def _labels(batch: pl.DataFrame, key: Key, settings: Settings) -> pl.Series:
    if key not in settings.keys or settings.index != "lsh":
        return pl.Series([None] * batch.height, dtype=COLUMNS[f"duplicate_lsh_{key}"])
    shingles = words.shingles(_texts(batch, key), settings.width)
    labels = joining.lsh_labels(shingles, *joining.lsh_shape(settings.floor))
    some = pl.DataFrame({"labels": pl.Series(labels).arr.to_list(), "filled": np.diff(shingles.offsets) > 0})
    return some.select(pl.when("filled").then("labels")).to_series()


def _shingles(rows: pl.DataFrame, key: Key, width: int, members: joining.Rows | None = None) -> Shingles:
    """The shingles of these rows, none for the others: most rows share no bucket, and are never compared."""
    some = np.full(rows.height, members is None)
    if members is not None:
        some[members] = True
    chosen = rows.select("messages").filter(pl.Series(some))
    found = words.shingles((text for part in chosen.iter_slices(_SLICE) for text in _texts(part, key)), width)
    sizes = np.zeros(rows.height, np.int64)
    sizes[some] = np.diff(found.offsets)
    return Shingles(found.values, np.concatenate([[0], np.cumsum(sizes)]))


def _texts(rows: pl.DataFrame, key: Key) -> list[str | None]:
    """The turns of a key, joined by line breaks."""
    turn = pl.element().struct
    content = turn.field("content").filter(turn.field("role").is_in(ROLES[key]))
    return rows.select(pl.col("messages").list.eval(content).list.join("\n"))["messages"].to_list()


def _beyond_templates(shingles: Shingles, width: int) -> Shingles:
    """Of rows that are mostly template the shingles that are none, but not those of a single word; else nothing."""
    _, which, rows = np.unique(shingles.values, return_inverse=True, return_counts=True)
    own = rows[which] < TEMPLATE_ROWS
    counts = np.concatenate([[0], np.cumsum(own)])[shingles.offsets]
    sizes = np.diff(shingles.offsets)
    enough = (2 * np.diff(counts) < sizes) & (np.diff(counts) > width)
    own &= np.repeat(enough, sizes)
    return Shingles(shingles.values[own], np.concatenate([[0], np.cumsum(own)])[shingles.offsets])


def _joined(one: Shingles, other: Shingles) -> Shingles:
    """For each row both sets as one."""
    sizes = np.diff(one.offsets) + np.diff(other.offsets)
    row = np.concatenate([np.repeat(np.arange(sizes.size), np.diff(s.offsets)) for s in (one, other)])
    values = np.concatenate([one.values, other.values])
    return Shingles(values[np.lexsort((values, row))], np.concatenate([[0], np.cumsum(sizes)]))


def _only(shingles: Shingles, rows: joining.Rows) -> Shingles:
    """The shingles of these rows, as `_shingles` gives them."""
    sizes = np.diff(shingles.offsets)
    some = np.zeros(sizes.size, np.bool_)
    some[rows] = True
    return Shingles(shingles.values[np.repeat(some, sizes)], np.concatenate([[0], np.cumsum(sizes * some)]))


def _datasketch_buckets(shingles: Shingles, bands: int, rows: int) -> tuple[joining.Rows, joining.Buckets]:
    """As `links.lsh_buckets`, by datasketch's MinHash: a peer's index to choose, and to measure ours against."""
    try:
        from datasketch import MinHash
    except ImportError:
        raise UserError(
            'index = "datasketch" needs a package that is not installed',
            where="filters.duplicates.index",
            fix="pip install 'caravan[datasketch]', or take index = \"lsh\"",
        ) from None
    filled = np.flatnonzero(np.diff(shingles.offsets))
    empty = MinHash(num_perm=bands * rows, hashfunc=int)  # shingles are hashes already
    values = (shingles.values >> np.uint64(32)).tolist()
    labels = np.empty((filled.size, bands), np.uint64)
    for at, row in enumerate(filled.tolist()):
        signature = empty.copy()
        signature.update_batch(values[shingles.offsets[row] : shingles.offsets[row + 1]])
        for band, part in enumerate(signature.hashvalues.astype("<u8").reshape(bands, rows)):
            digest = blake2b(bytes([band]) + part.tobytes(), digest_size=8).digest()
            labels[at, band] = int.from_bytes(digest, "little")
    return joining.shared(np.repeat(filled, bands), labels.ravel())
