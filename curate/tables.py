"""Tables in: tsv, csv and Parquet, as a stream of rows with their numbers.

- tsv: no quoting, lines split at newlines alone. The first line is a header when it has two or more cells, all
  different, each a name (a letter, then letters, digits, `_`, `-` or `.`; at most 40), and the next line is not like
  that: rows are then objects, else lists of cells. The row is the number of the line.
- csv: the first record is the header; cells may hold newlines. Semicolons or tabs part the cells where the header has
  no comma. Of columns with the same name, the second is called `name_2`. The row counts records, without the header.
- Parquet: dates and times become ISO text, decimals text, durations text, maps lists of pairs, bytes text where they
  are UTF-8 and else base64; NaN and infinities become null. The row counts records.

A row with more or fewer cells than the header is not guessed at: it is unreadable.
"""

import base64
import csv
import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from caravan.converters.schema import RawRow
from caravan.curate.records import MAX_RECORD, lines, to_text
from caravan.curate.text import TextChanges, clean, clean_text
from caravan.curate.unpack import Bad, Stream

_BATCH = 512
_NAME = re.compile(r"[^\W\d][\w.-]{0,39}")
_END = "\0end of the file"
_LONE_RETURN = re.compile("(?<=\r)(?!\n)")
_TOO_LONG = f"a line longer than {MAX_RECORD >> 20} MiB, which is no row: split it"


def tsv_rows(stream: Stream, changes: TextChanges) -> Iterator[RawRow | Bad]:
    """Rows of a tsv file: objects under a header, else lists of cells."""
    items: Iterator[tuple[int, list[str]] | Bad] = _tsv_cells(stream, changes)
    first, second = next(items, None), next(items, None)
    header = _names(first)
    if header is None or second is None or _names(second) is not None:
        header = None
        items = chain([first] if first is not None else [], [second] if second is not None else [], items)
    else:
        items = chain([second], items)
    for item in items:
        if isinstance(item, Bad):
            yield item
        elif header is None:
            yield RawRow(item[0], list[JsonValue](item[1]))
        else:
            yield _under(header, *item, "\t")


def csv_rows(stream: Stream, changes: TextChanges) -> Iterator[RawRow | Bad]:
    """Rows of a csv file, as objects."""
    csv.field_size_limit(MAX_RECORD)
    text = _csv_lines(stream)
    first = next(text)
    delimiter = next((mark for mark in ",;\t" if mark in first), ",")
    reader = csv.reader(chain([first], text), delimiter=delimiter)
    header: list[str] | None = None
    number = 0
    while True:
        try:
            cells = next(reader)
        except csv.Error as error:
            number += 1
            yield Bad(number, f"not csv ({error}): mend or delete it", b"")
            continue
        except StopIteration:
            break
        if cells == [_END] or not cells:
            continue
        raw = delimiter.join(cells).removesuffix(_END).encode("utf-8", "surrogateescape")
        if cells[-1].endswith(_END):
            why = "a quotation mark is opened here and never closed, up to the end of the file: mend it"
            yield Bad(number + 1, stream.broken or why, raw)
            return
        number += header is not None
        try:
            cells = [clean_text(to_text(cell.encode("utf-8", "surrogateescape")), changes) for cell in cells]
        except ValueError as error:
            yield Bad(number, str(error), raw)
            if header is None:
                return
            continue
        if header is None:
            header = _different(cells)
        else:
            yield _under(header, number, cells, delimiter)
    if stream.broken:
        yield Bad(number + 1, stream.broken, stream.tail)


def parquet_rows(file: BinaryIO, changes: TextChanges) -> Iterator[RawRow | Bad]:
    """Rows of a Parquet file, as objects."""
    row = 0
    try:
        with pq.ParquetFile(file) as table:
            for batch in table.iter_batches(_BATCH):
                for value in _batch_rows(batch):
                    row += 1
                    if isinstance(value, str):
                        yield Bad(row, value, b"")
                    else:
                        yield RawRow(row, clean(_as_json(value, changes), changes))
    except (pa.ArrowException, OSError, ValueError) as error:
        yield Bad(row + 1 if row else 0, f"damaged Parquet ({_brief(error)}): get the file again", b"")


def _tsv_cells(stream: Stream, changes: TextChanges) -> Iterator[tuple[int, list[str]] | Bad]:
    number = 0
    for number, line in enumerate(lines(stream), 1):
        if len(line) > MAX_RECORD:
            yield Bad(number, _TOO_LONG, line)
        elif line and not line.isspace():
            try:
                text = to_text(line).removesuffix("\r")
            except ValueError as error:
                yield Bad(number, str(error), line)
            else:
                yield number, [clean_text(cell, changes) for cell in text.split("\t")]
    if stream.broken:
        yield Bad(number + 1, stream.broken, stream.tail)


def _names(item: tuple[int, list[str]] | Bad | None) -> list[str] | None:
    """The cells of a line if they look like a header."""
    if item is None or isinstance(item, Bad):
        return None
    cells = item[1]
    named = len(cells) >= 2 and len(set(cells)) == len(cells) and all(_NAME.fullmatch(cell) for cell in cells)
    return cells if named else None


def _under(header: list[str], row: int, cells: list[str], delimiter: str) -> RawRow | Bad:
    if len(cells) != len(header):
        why = f"{len(cells)} cells under a header of {len(header)}: mend or delete it"
        return Bad(row, why, delimiter.join(cells).encode())
    return RawRow(row, dict(zip(header, cells, strict=True)))


def _csv_lines(stream: Stream) -> Iterator[str]:
    """Lines for the csv module, old Mac line ends too, then `_END`, which shows whether a quotation is still open."""
    for line in lines(stream):
        # What is not UTF-8 is carried along as escapes, and found in its record.
        yield from _LONE_RETURN.split(line.decode("utf-8", "surrogateescape") + "\n")
    yield _END


def _different(names: list[str]) -> list[str]:
    seen = Counter[str]()
    header: list[str] = []
    for name in names:
        seen[name] += 1
        header.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return header


def _batch_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | str]:
    """Rows of a batch; where one of them cannot be had as Python values, the others are had one by one."""
    try:
        yield from batch.to_pylist()
    except (pa.ArrowException, ValueError, OverflowError):
        # Text that is not UTF-8, a struct with two fields of one name, a date that Python does not know.
        for number in range(batch.num_rows):
            try:
                yield batch.slice(number, 1).to_pylist()[0]
            except (pa.ArrowException, ValueError, OverflowError) as error:
                yield f"a value cannot be read ({_brief(error)}): mend or delete it"


def _as_json(value: Any, changes: TextChanges) -> JsonValue:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        changes.number += 1
        return None
    if isinstance(value, dict):
        return {str(key): _as_json(item, changes) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item, changes) for item in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _brief(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
