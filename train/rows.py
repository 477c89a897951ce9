"""Rows to train on, as they were written: a mixture or any Parquet of conversations, checked, never changed."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import polars as pl

from caravan.converters.schema import Message, Role, content_hash
from caravan.errors import UserError
from caravan.mixtures import manifest
from caravan.mixtures.manifest import Manifest
from caravan.terminal import Progress

MIX = "mix.parquet"
ROLES = get_args(Role)
_MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
_WEIGHTS = pl.List(pl.UInt8)


@dataclass(frozen=True)
class Rows:
    """Rows to train on, in the file's order.

    `frame` has the columns `messages` (list of {role, content}), `weights` (list of 0/1, one a message, or null: all
    1), `source`, `row_id` (for people) and `id`. `content_hash` names the logical rows: it is the manifest's where no
    message has a weight. A pair of `read_pairs` is two rows.
    """

    path: Path
    frame: pl.DataFrame
    content_hash: str
    manifest: Manifest | None


def read_rows(data: str, progress: Progress) -> Rows:
    """Read a mixture (`mix.parquet`, its folder, or any Parquet file with a column `messages`).

    A `mix.parquet` beside a manifest must be what that manifest says. Elsewhere `source` is the file's stem and
    `row_id` FILE:ROW unless columns of these names are there; weights are taken from `tags` (`{"weights": [0, 1]}`).
    Raises `UserError`, naming file and row, for whatever is no conversation.
    """
    path = find_data(data, progress)
    read = _read(path, ["messages"], progress)
    messages = _conversations(read, "messages", path, progress)
    frame = pl.DataFrame([messages, _weights(read, messages, path), *_names(read, path)])
    repeats = read["repeat"].to_list() if "repeat" in read.columns else [1] * read.height
    plain = _hash(frame, repeats)
    described = _described(path, plain, progress)
    return Rows(path, frame, _with_weights(plain, frame), described)


def read_pairs(data: str, progress: Progress) -> Rows:
    """Read preferences (columns `prompt`, `chosen`, `rejected`: lists of messages) as two conversations each.

    Row 2i is prompt and chosen answer, row 2i + 1 prompt and rejected answer; weights are 1 on the assistant messages
    of the answer and 0 elsewhere. `row_id` and `id` end in `:chosen` and `:rejected`.
    """
    path = find_data(data, progress)
    read = _read(path, ["prompt", "chosen", "rejected"], progress)
    prompt, chosen, rejected = (_conversations(read, name, path, progress) for name in ("prompt", "chosen", "rejected"))
    source, row_id, own_id = _names(read, path)
    columns: dict[str, list[Any]] = {"messages": [], "weights": [], "source": [], "row_id": [], "id": []}
    pairs = zip(prompt, chosen, rejected, source, row_id, own_id, strict=True)
    for row, (asked, good, bad, name, label, own) in enumerate(pairs, start=1):
        for answer, kind in ((good, "chosen"), (bad, "rejected")):
            weights = [0] * len(asked) + [int(message["role"] == "assistant") for message in answer]
            if not any(weights):
                raise UserError(f"{kind} has no assistant message", where=f"{path}:{row}", fix="leave the row out")
            columns["messages"].append([*asked, *answer])
            columns["weights"].append(weights)
            columns["source"].append(name)
            columns["row_id"].append(f"{label}:{kind}")
            columns["id"].append(f"{own}:{kind}")
    frame = pl.DataFrame(columns, schema_overrides={"messages": _MESSAGES, "weights": _WEIGHTS})
    return Rows(path, frame, _with_weights(_hash(frame, [1] * frame.height), frame), None)


def find_data(data: str, progress: Progress) -> Path:
    """The file that a path means: a folder its mix.parquet, which is also looked for in mix/ and the folder itself."""
    given = Path(data)
    wanted = given / MIX if given.is_dir() else given
    if wanted.exists() or wanted.name != MIX:
        return wanted
    for other in (wanted.parent / "mix" / MIX, wanted.parent.parent / MIX):
        if other.is_file():
            progress.say(f"{wanted} is not there: reading {other}")
            return other
    return wanted


def _read(path: Path, needed: Sequence[str], progress: Progress) -> pl.DataFrame:
    try:
        with path.open("rb") as file:
            frame = pl.read_parquet(file)
    except FileNotFoundError:
        fix = "name a mixture's folder or a Parquet file; `curate build-mix` makes one"
        raise UserError("no such file", where=str(path), fix=fix) from None
    except OSError as error:
        raise UserError(error.strerror or "cannot be read", where=str(path), fix="name a Parquet file") from None
    except pl.exceptions.PolarsError as error:
        what = f"not a Parquet file that can be read: {str(error).splitlines()[0]}"
        raise UserError(what, where=str(path), fix="`curate convert` turns raw data into one") from None
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        what = f"no column {missing[0]!r}; there are {', '.join(frame.columns) or 'none'}"
        raise UserError(what, where=str(path), fix="`curate convert` turns raw data into conversations")
    if frame.height == 0:
        raise UserError("no rows", where=str(path), fix="give a file with rows")
    progress.say(f"{path}: {frame.height:,} rows")
    return frame


def _conversations(read: pl.DataFrame, name: str, path: Path, progress: Progress) -> pl.Series:
    """A column of conversations, of our own type; the first row that is none is refused."""
    column = read[name]
    inner = column.dtype.inner if isinstance(column.dtype, pl.List) else None
    fields = dict(inner) if isinstance(inner, pl.Struct) else {}
    if fields.get("role") != pl.String or fields.get("content") != pl.String:
        what = f"column {name!r} is {column.dtype}, not a list of {{role, content}} texts"
        raise UserError(what, where=str(path), fix="`curate convert` turns raw data into conversations")
    other = sorted(fields.keys() - {"role", "content"})
    if other:
        progress.warn(f"{path}: of column {name!r} only role and content are used, not {', '.join(other)}")
    rows = pl.DataFrame({"row": pl.int_range(1, read.height + 1, eager=True), "message": column})
    flat = rows.filter(column.list.len() > 0).explode("message").unnest("message")
    empty = rows.filter(column.list.len().fill_null(0) == 0).select(
        "row", pl.lit(f"{name} holds no message").alias("what")
    )
    no_role = pl.col("role").is_in(ROLES).not_().fill_null(True)
    shown = pl.col("role").fill_null("null")
    unknown = pl.format(f"{name} has a message of role {{}}; known are {', '.join(ROLES)}", shown)
    silent = pl.format(f"{name} has a message of role {{}} without content", shown)
    why = pl.when(no_role).then(unknown).otherwise(silent).alias("what")
    bad = pl.concat([empty, flat.filter(no_role | pl.col("content").is_null()).select("row", why)]).sort("row")
    if bad.height:
        raise UserError(bad["what"][0], where=f"{path}:{bad['row'][0]}", fix="mend the row, or leave it out")
    message = pl.struct(pl.element().struct.field("role"), pl.element().struct.field("content"))
    return column.to_frame().select(pl.col(name).list.eval(message))[name]


def _names(read: pl.DataFrame, path: Path) -> Iterator[pl.Series]:
    """The columns `source`, `row_id` and `id`, made up where they are missing."""
    row = pl.int_range(1, pl.len() + 1).cast(pl.String)
    default = pl.concat_str(pl.lit(f"{path.name}:"), row)

    def column(name: str, otherwise: pl.Expr) -> pl.Expr:
        return pl.coalesce(pl.col(name).cast(pl.String), otherwise) if name in read.columns else otherwise

    try:
        named = read.select(
            column("source", pl.lit(path.stem)).alias("source"),
            column("row_id", column("id", default)).alias("row_id"),
            column("id", column("row_id", default)).alias("id"),
        )
    except pl.exceptions.PolarsError:
        raise UserError("source, row_id and id must be texts or numbers", where=str(path), fix="drop them") from None
    return iter(named.get_columns())


def _weights(read: pl.DataFrame, messages: pl.Series, path: Path) -> pl.Series:
    """What `tags` says of each message's weight; null where it says nothing."""
    weights: list[list[int] | None] = [None] * read.height
    kind = read["tags"].dtype if "tags" in read.columns else pl.Null()
    if isinstance(kind, pl.Struct) and "weights" in [field.name for field in kind.fields]:
        fix = "write tags as JSON texts, or drop the column"
        raise UserError(f"tags.weights is in a column of {kind}, not of texts", where=str(path), fix=fix)
    if kind == pl.String:
        lengths = messages.list.len()
        said = read.select(pl.int_range(pl.len()).alias("row"), "tags")
        for row, tags in said.filter(pl.col("tags").str.contains('"weights"', literal=True)).iter_rows():
            weights[row] = _weights_of(tags, lengths[row], f"{path}:{row + 1}")
    return pl.Series("weights", weights, dtype=_WEIGHTS)


def _weights_of(tags: str, messages: int, where: str) -> list[int] | None:
    try:
        table = json.loads(tags)
    except (ValueError, RecursionError):
        raise UserError("tags is not JSON", where=where, fix="mend the row, or drop the column") from None
    found = table.get("weights") if isinstance(table, dict) else None
    if found is None:
        return None
    if not isinstance(found, list) or len(found) != messages or any(weight not in (0, 1) for weight in found):
        what = f"tags.weights is {json.dumps(found)[:60]}, not {messages} times 0 or 1, one a message"
        raise UserError(what, where=where, fix="mend the row, or drop the column")
    return [int(weight) for weight in found]


def _hash(frame: pl.DataFrame, repeats: Sequence[Any]) -> str:
    """SHA-256 over source, messages and copy of each row, as the manifest has it."""
    digest = sha256()
    rows: Iterator[tuple[str, list[Message]]] = frame.select("source", "messages").iter_rows()
    for (source, messages), repeat in zip(rows, repeats, strict=True):
        digest.update(f"{content_hash(source, messages)} {repeat}\n".encode())
    return digest.hexdigest()


def _with_weights(plain: str, frame: pl.DataFrame) -> str:
    if frame["weights"].null_count() == frame.height:
        return plain
    return sha256(json.dumps([plain, frame["weights"].to_list()]).encode()).hexdigest()


def _described(path: Path, found: str, progress: Progress) -> Manifest | None:
    """The manifest beside a mix.parquet, which must be of these very rows."""
    if path.name != MIX:
        return None
    if not (path.parent / manifest.FILE).exists():
        progress.warn(f"{path}: no {manifest.FILE} beside it, so nothing says what it should hold")
        return None
    said = manifest.read(path.parent)
    if said.content_hash != found:
        what = f"its rows (content {found[:12]}) are not those of its manifest ({said.content_hash[:12]})"
        fix = f"build the mixture again, or take {manifest.FILE} away if the change is yours"
        raise UserError(what, where=str(path), fix=fix)
    return said
