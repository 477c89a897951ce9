"""One file through its converter: example shards, what was refused, and books that balance.

Every raw row ends cited by an example, rejected with a code, or quarantined; a converter that loses a row, or breaks
on one, costs that row a refusal (`not_converted`, `converter_error`), never the run.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pyarrow as pa
from pydantic import JsonValue, ValidationError

from caravan.converters.schema import (
    MESSAGES,
    Converted,
    Example,
    RawRow,
    Rejected,
    arrow_schema,
    content_hash,
    to_json,
)
from caravan.curate.read import Input, TextChanges, Unreadable, read
from caravan.curate.shards import cache_folder, file_sha256, key, read_table, write_table, written_aside
from caravan.errors import UserError, did_you_mean
from caravan.plugins import load

VERSION = 1
SHARD_ROWS = 8192
REFUSED = pa.schema(
    [
        ("fate", pa.string()),  # rejected (the row), partly_rejected (a part of a row that is cited) or quarantined
        ("row", pa.int64()),
        ("rows", pa.list_(pa.int64())),
        ("code", pa.string()),
        ("detail", pa.string()),
        ("raw", pa.string()),  # the raw row, or the part of it that is lost, as JSON; unreadable bytes as text
    ]
)


@dataclass(frozen=True)
class Task:
    """One file of one source, for one converter. Small and picklable: workers receive it."""

    source: str
    input: Input
    converter: str
    options: str  # JSON of the options, validated by the converter's own model
    licence: str | None = None  # overrides the converter's


@dataclass(frozen=True)
class FileConverted:
    """What a task left in the cache."""

    task: Task
    sha256: str
    bytes: int
    version: int
    shards: list[str]  # example shards, file names in the cache
    shard_rows: list[int]
    refused: str
    rows: int
    cited: int
    rejected: int
    quarantined: int
    examples: int
    codes: dict[str, int]
    text_changes: dict[str, int]
    from_cache: bool = False


def check_options(converter: str, options: dict[str, JsonValue], where: str) -> str:
    """Validate a converter's options by its own model and give them back as JSON; `UserError` names the key."""
    model = load("converters", converter).Options
    try:
        return str(model.model_validate(options).model_dump_json())
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "options"
        unknown = first["type"] == "extra_forbidden"
        raise UserError(
            f"converter {converter}: {'unknown option' if unknown else 'option'} {name!r}"
            + ("" if unknown else f": {first['msg']}"),
            where=where,
            fix=did_you_mean(name, model.model_fields) if unknown else "see `curate plugins converters`",
        ) from None


def convert_file(task: Task) -> FileConverted:
    """Convert one file, or find it in the cache. Runs in a worker process."""
    try:
        digest, size = file_sha256(task.input.path), task.input.path.stat().st_size
    except OSError:
        digest, size = "", 0  # `read` says why
    module = load("converters", task.converter)
    name = key("convert", VERSION, digest, task.source, task.converter, module.VERSION, task.options, task.licence)
    index = cache_folder() / f"convert-{name}.json"
    known = _from_cache(index, task)
    if known is not None:
        return known
    made = _convert(task, module, name, digest, size)
    if digest:
        with written_aside(index) as aside:
            aside.write_text(json.dumps({k: v for k, v in asdict(made).items() if k not in ("task", "from_cache")}))
    return made


def _from_cache(index: Path, task: Task) -> FileConverted | None:
    try:
        made = FileConverted(task=task, from_cache=True, **json.loads(index.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    whole = all((cache_folder() / shard).exists() for shard in [*made.shards, made.refused])
    return made if whole else None


def _convert(task: Task, module: ModuleType, name: str, digest: str, size: int) -> FileConverted:
    options = module.Options.model_validate_json(task.options)
    licence = task.licence if task.licence is not None else module.LICENCE
    changes = TextChanges()
    refused: list[dict[str, Any]] = []
    examples: list[Example | dict[str, Any]] = []
    shards: list[str] = []
    shard_rows: list[int] = []
    raw_rows, cited, rejected, count = 0, set[int](), set[int](), 0
    codes: Counter[str] = Counter()

    def flush() -> None:
        shard = f"examples-{name}-{len(shards):04}.parquet"
        write_table(pa.Table.from_pylist(examples, schema=arrow_schema(Example)), cache_folder() / shard)
        shards.append(shard)
        shard_rows.append(len(examples))
        examples.clear()

    def refuse(fate: str, rows: tuple[int, ...], code: str, detail: str, raw: str) -> None:
        refused.append({"fate": fate, "row": rows[0], "rows": rows, "code": code, "detail": detail, "raw": raw})

    rows = _rows(task.input, changes, lambda bad: refuse("quarantined", (bad.row,), "unreadable", bad.why, bad.raw))
    for group in _groups(rows, module, options):
        raw_rows += len(group)
        numbers = tuple(r.row for r in group)
        group_cited = set[int]()
        refusals: list[Rejected] = []
        for made in _run(module, group, options):
            if isinstance(made, Rejected):
                refusals.append(made)
                continue
            cites = made.rows if made.rows is not None else numbers
            group_cited.update(cites)
            examples.append(_example(made, task, cites, licence))
            count += 1
            if len(examples) >= SHARD_ROWS:
                flush()
        lost = set(numbers) - group_cited - {n for r in refusals for n in (r.rows if r.rows is not None else numbers)}
        if lost:
            refusals.append(Rejected("not_converted", "the converter gave nothing for this row", tuple(sorted(lost))))
        by_row = {r.row: r for r in group}
        for refusal in refusals:
            where = refusal.rows if refusal.rows is not None else numbers
            codes[refusal.code] += 1
            whole = [n for n in where if n not in group_cited]
            rejected.update(whole)
            raw = refusal.lost if refusal.lost is not None else [by_row[n].value for n in where if n in by_row]
            text = to_json(raw[0] if isinstance(raw, list) and len(raw) == 1 and refusal.lost is None else raw)
            refuse("rejected" if whole else "partly_rejected", where, refusal.code, refusal.detail, text)
        cited |= group_cited
    if examples or not shards:
        flush()
    quarantined = sum(r["fate"] == "quarantined" for r in refused)
    store = f"refused-{name}.parquet"
    write_table(pa.Table.from_pylist(refused, schema=REFUSED), cache_folder() / store)
    return FileConverted(
        task=task,
        sha256=digest,
        bytes=size,
        version=module.VERSION,
        shards=shards,
        shard_rows=shard_rows,
        refused=store,
        rows=raw_rows + quarantined,
        cited=len(cited),
        rejected=len(rejected),
        quarantined=quarantined,
        examples=count,
        codes=dict(sorted(codes.items())),
        text_changes={k: v for k, v in asdict(changes).items() if v},
    )


def _rows(source: Input, changes: TextChanges, bad: Any) -> Iterator[RawRow]:
    for row in read(source, changes):
        if isinstance(row, Unreadable):
            bad(row)
        else:
            yield row


def _groups(rows: Iterable[RawRow], module: ModuleType, options: Any) -> Iterator[list[RawRow]]:
    """Rows that stand alone at once, then the groups in the order of their first rows."""
    groups: dict[str, list[RawRow]] = {}
    for row in rows:
        name = module.group_key(row, options)
        if name is None:
            yield [row]
        else:
            groups.setdefault(name, []).append(row)
    yield from groups.values()


def _run(module: ModuleType, group: list[RawRow], options: Any) -> Iterator[Converted | Rejected]:
    try:
        for made in module.convert(group, options):
            if isinstance(made, Converted):
                problem = _problem(made)
                yield made if problem is None else Rejected("invalid_messages", problem, made.rows)
            else:
                yield made
    except Exception as error:  # a stranger's code on a stranger's row: the row pays, not the run
        yield Rejected("converter_error", f"{type(error).__name__}: {error}"[:300])


def _problem(made: Converted) -> str | None:
    if not made.messages:
        return "no messages"
    try:
        MESSAGES.validate_python(made.messages, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return None


def _example(made: Converted, task: Task, cites: tuple[int, ...], licence: str) -> dict[str, Any]:
    return {
        "messages": made.messages,
        "id": content_hash(task.source, made.messages),
        "source": task.source,
        "tags": to_json(made.tags),
        "provenance": {
            "file": "",  # the same bytes under another name are the same shard: `load_examples` fills it in
            "row": cites[0],
            "rows": cites,
            "own_id": made.own_id,
            "fields": made.fields,
        },
        "licence": made.licence if made.licence is not None else licence,
    }


def refused_table(made: FileConverted) -> pa.Table:
    """What a file's conversion refused, in the schema REFUSED."""
    table = read_table(cache_folder() / made.refused)
    return table if table is not None else REFUSED.empty_table()


def load_examples(made: FileConverted) -> pl.DataFrame:
    """A file's examples, all shards, with the file's name in their provenance."""
    frames = [pl.read_parquet(cache_folder() / shard) for shard in made.shards]
    return pl.concat(frames).with_columns(
        pl.col("provenance").struct.with_fields(pl.lit(made.task.input.name).alias("file"))
    )
