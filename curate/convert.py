"""One file through its converter: shards of examples or preferences, what was refused, and books that balance.

Every raw row ends cited by an example (or a preference), rejected with a code, or quarantined; a converter that loses
a row, or breaks on one, costs that row a refusal (`not_converted`, `converter_error`), never the run.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unicodedata import unidata_version

import polars as pl
import pyarrow as pa
from pydantic import JsonValue, ValidationError

import caravan
from caravan.cache import cache_folder, key, written_aside
from caravan.converters.converter import row_type
from caravan.converters.schema import (
    MESSAGES,
    Converted,
    ConvertedPair,
    Preference,
    RawRow,
    Rejected,
    arrow_schema,
    content_hash,
    to_json,
)
from caravan.curate.input import Input
from caravan.curate.read import TextChanges, Unreadable, read
from caravan.curate.shards import read_frame, write_table
from caravan.curate.unpack import Unusable, open_file
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
    shards: dict[str, int]  # of examples or preferences: file names in the cache, and how many rows each has
    refused: str
    rows: int
    cited: int
    rejected: int
    quarantined: int
    examples: int  # or preferences
    codes: dict[str, int]
    text_changes: dict[str, int]
    unusable: bool = False  # the file as a whole: that may be mended without a change of its bytes


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
        with open_file(task.input.path) as file:
            digest, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
    except (Unusable, OSError):
        digest, size = "", 0  # `read` says why
    module = load("converters", task.converter)
    name = key(
        *("convert", VERSION, caravan.__version__, unidata_version),
        # The bytes, and how the reader takes them: the ends of the name say that. Without a digest nothing is cached,
        # but the shards of two such files must not have one name.
        *((digest, Path(task.input.name).suffixes[-2:]) if digest else (task.input.name,)),
        *(task.source, task.converter, module.VERSION, task.options, task.licence),
    )
    index = cache_folder() / f"convert-{name}.json"
    known = _from_cache(index, task)
    if known is not None:
        return known
    made = _convert(task, module, name, digest, size)
    if digest and not made.unusable:
        with written_aside(index) as aside:
            aside.write_text(json.dumps({k: v for k, v in asdict(made).items() if k != "task"}))
    return made


def _from_cache(index: Path, task: Task) -> FileConverted | None:
    try:
        made = FileConverted(task=task, **json.loads(index.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    whole = all((cache_folder() / shard).exists() for shard in [*made.shards, made.refused])
    return made if whole else None


class _Conversion:
    """One file's conversion as it goes: shards written so far, refusals, and the books."""

    def __init__(self, task: Task, module: ModuleType, name: str) -> None:
        self._task, self._module, self._name = task, module, name
        self._licence = task.licence if task.licence is not None else module.LICENCE
        self._type = row_type(module)
        self._made: list[dict[str, Any]] = []
        self.shards: dict[str, int] = {}
        self.refused: list[dict[str, Any]] = []
        self.rows = self.quarantined = 0
        self.unusable = False
        self.cited, self.rejected = set[int](), set[int]()
        self.codes: Counter[str] = Counter()

    def readable(self, changes: TextChanges) -> Iterator[RawRow]:
        """The raw rows of the file; what cannot be read goes to quarantine."""
        for row in read(self._task.input, changes):
            if isinstance(row, Unreadable):
                self.quarantined += row.rows
                self.unusable |= row.row == 0
                self._refuse("quarantined", (row.row,), "unreadable", row.why, row.raw)
            else:
                yield row

    def take(self, group: list[RawRow], options: Any) -> None:
        """Convert one group, and see that each of its rows is cited or refused."""
        numbers = tuple(row.row for row in group)
        cited, refusals = set[int](), list[Rejected]()
        for made in self._run(group, numbers, options):
            if isinstance(made, Rejected):
                refusals.append(made)
                continue
            cited.update(made["provenance"]["rows"])
            self._made.append(made)
            if len(self._made) >= SHARD_ROWS:
                self.flush()
        refused = {n for refusal in refusals for n in (numbers if refusal.rows is None else refusal.rows)}
        if forgotten := tuple(n for n in numbers if n not in cited and n not in refused):
            refusals.append(Rejected("not_converted", "the converter gave nothing for this row", forgotten))
        raw = {row.row: row.value for row in group}
        for refusal in refusals:
            self._reject(refusal, numbers if refusal.rows is None else refusal.rows, cited, raw)
        self.rows += len(group)
        self.cited |= cited

    def _run(self, group: list[RawRow], numbers: tuple[int, ...], options: Any) -> Iterator[dict[str, Any] | Rejected]:
        try:
            for made in self._module.convert(group, options):
                if isinstance(made, Rejected):
                    if made.rows is not None and not (made.rows and set(made.rows) <= set(numbers)):
                        raise ValueError(f"rejects rows {list(made.rows)}, which are not of its group")
                    to_json(made.lost)
                    yield made
                else:
                    if isinstance(made, ConvertedPair) != (self._type is Preference):
                        raise TypeError(f"yields {type(made).__name__}, and GIVES says {self._type.__name__}")
                    yield _row(made, numbers, self._task.source, self._licence)
        except Exception as error:  # a stranger's code on a stranger's row: the row pays, not the run
            text = f"{type(error).__name__}: {error}".split("\n")[0]
            yield Rejected("converter_error", text[:300])

    def flush(self) -> None:
        """Write what has gathered as one shard."""
        shard = f"{self._type.__name__.lower()}s-{self._name}-{len(self.shards):04}.parquet"
        write_table(pa.Table.from_pylist(self._made, schema=arrow_schema(self._type)), cache_folder() / shard)
        self.shards[shard] = len(self._made)
        self._made.clear()

    def end(self) -> str:
        """Write the last shard, and what was refused; gives the name of the latter."""
        if self._made or not self.shards:
            self.flush()
        store = f"refused-{self._name}.parquet"
        write_table(pa.Table.from_pylist(self.refused, schema=REFUSED), cache_folder() / store)
        return store

    def _reject(self, refusal: Rejected, rows: tuple[int, ...], cited: set[int], raw: dict[int, JsonValue]) -> None:
        whole = [n for n in rows if n not in cited]
        self.rejected.update(whole)
        self.codes[refusal.code] += 1
        lost = refusal.lost
        if lost is None:
            values = [raw[n] for n in rows if n in raw]
            lost = values[0] if len(values) == 1 else values
        fate = "rejected" if whole else "partly_rejected"
        self._refuse(fate, rows, refusal.code, refusal.detail, to_json(lost))

    def _refuse(self, fate: str, rows: tuple[int, ...], code: str, detail: str, raw: str) -> None:
        self.refused.append({"fate": fate, "row": rows[0], "rows": rows, "code": code, "detail": detail, "raw": raw})


def _convert(task: Task, module: ModuleType, name: str, digest: str, size: int) -> FileConverted:
    options, changes = module.Options.model_validate_json(task.options), TextChanges()
    work = _Conversion(task, module, name)
    for group in _groups(work.readable(changes), module, options):
        work.take(group, options)
    refused = work.end()
    return FileConverted(
        task=task,
        sha256=digest,
        bytes=size,
        version=module.VERSION,
        shards=work.shards,
        refused=refused,
        rows=work.rows + work.quarantined,
        cited=len(work.cited),
        rejected=len(work.rejected),
        quarantined=work.quarantined,
        examples=sum(work.shards.values()),
        codes=dict(sorted(work.codes.items())),
        text_changes={change: count for change, count in asdict(changes).items() if count},
        unusable=work.unusable,
    )


def _groups(rows: Iterable[RawRow], module: ModuleType, options: Any) -> Iterator[list[RawRow]]:
    """Rows that stand alone at once, then the groups in the order of their first rows."""
    groups: dict[str, list[RawRow]] = {}
    for row in rows:
        try:
            name = module.group_key(row, options)
        except Exception:  # as in `_run`: `convert` will say what is wrong with the row
            name = None
        if name is None:
            yield [row]
        else:
            groups.setdefault(name, []).append(row)
    yield from groups.values()


def _row(made: Converted | ConvertedPair, numbers: tuple[int, ...], source: str, licence: str) -> dict[str, Any]:
    """One row of a shard; raises `ValueError` or `TypeError` where the converter broke the contract."""
    cites = numbers if made.rows is None else made.rows
    if not cites or not set(cites) <= set(numbers):
        raise ValueError(f"cites rows {list(cites)}, which are not of its group")
    if isinstance(made, ConvertedPair):
        texts = {"prompt": made.prompt, "chosen": made.chosen, "rejected": made.rejected}
        if made.chosen == made.rejected:
            raise ValueError("chosen and rejected are the same")
    else:
        texts = {"messages": made.messages}
    for name, messages in texts.items():
        if not messages:
            raise ValueError("no messages" if name == "messages" else f"no messages in {name}")
        MESSAGES.validate_python(messages, strict=True)
        if any("\0" in message["content"] for message in messages):
            raise ValueError("a text holds NUL")
    if made.own_id is not None and not isinstance(made.own_id, str):
        raise TypeError(f"own_id is a {type(made.own_id).__name__}, not a text")
    return {
        **texts,
        "id": content_hash(source, *texts.values()),
        "source": source,
        "tags": to_json(made.tags),
        "provenance": {
            "file": "",  # the same bytes under another name are the same shard: `load_examples` fills it in
            "row": cites[0],
            "rows": cites,
            "own_id": made.own_id,
            "fields": made.fields if isinstance(made, Converted) else [],
        },
        "licence": made.licence if made.licence is not None else licence,
    }


def refused(made: FileConverted) -> pl.DataFrame:
    """What a file's conversion refused, in the schema REFUSED."""
    return read_frame(made.refused)


def load_examples(made: FileConverted) -> pl.DataFrame:
    """A file's examples, or its preferences, all shards, with the file's name in their provenance."""
    frames = [read_frame(shard) for shard in made.shards]
    return pl.concat(frames).with_columns(
        pl.col("provenance").struct.with_fields(pl.lit(made.task.input.name).alias("file"))
    )
