"""JSON in: lines, lists, and values one after another, as a stream of records with their row numbers.

A record is parsed by orjson, and by the standard library where that refuses: it takes a byte order mark, control
characters and lone surrogates in strings, and NaN and infinities (also 1e400), which become null and are counted.
Of equal keys the last wins; whole numbers beyond 64 bits become floats; nesting deeper than 100 is refused.

A list is never held whole. Records are cut off its front, a megabyte of them at a time where the text between them
can be told by how the first one begins (`{"id"`), which the parser then proves; otherwise one by one, by the brackets
outside strings. So a list that breaks off gives all its complete records, and one that is broken in the middle loses
that record alone.
"""

import json
import math
import re
from collections.abc import Iterator

import orjson
from pydantic import JsonValue

from caravan.converters.schema import RawRow
from caravan.curate.text import TextChanges, clean
from caravan.curate.unpack import BLOCK, Bad, Stream

MAX_DEPTH = 100
MAX_RECORD = 1 << 28
_HOPELESS = 10_000  # levels after which nobody looks for the end
_MOST_ENDLESS = 25  # each costs a look through the rest of the file
_TOO_LONG = f"longer than {MAX_RECORD >> 20} MiB, which is no row: split it"
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels: flatten it"
_CUT = "the file breaks off in this record: get it whole"
_NO_END = "not JSON, and it has no end of its own (a quotation mark or a bracket is missing): mend it"
_REST = "nothing behind it in the file is read"
_MEND = "mend or delete it"
_QUOTE, _OPEN, _CLOSE = b'"[]'

_GAP = re.compile(rb"(?:[\s,]++|\xef\xbb\xbf)*+")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.S)
_SCALAR = re.compile(rb'[^\s,\[\]{}"]++')
_STRAY = re.compile(rb"\}(?:[\s,]*+\})*+|\](?:[\s,]*+\])*+")
_BRACKET = re.compile(rb'[^"\[\]{}]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"\[\]{}]*+)*+([\[\]{}])', re.S)
_FIRST_KEY = re.compile(rb'\{\s*+"[^"\\]*+(?:\\.[^"\\]*+)*+"\s*+:', re.S)
_BETWEEN = re.compile(rb"\}(\s*+,\s*+)\Z")
_AFTER = re.compile(rb"\s*+(?:[,\]{\[]|\Z)")
_STRINGS_CLOSED = re.compile(rb'[^"]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"]*+)*+', re.S)


class Json:
    """One parser a file: counts what it had to change in `changes`."""

    def __init__(self, changes: TextChanges) -> None:
        self._changes = changes
        self._lenient = json.JSONDecoder(
            strict=False, parse_int=self._whole, parse_float=self._real, parse_constant=self._null
        )

    def row(self, number: int, data: bytes) -> RawRow | Bad:
        """One record, parsed and clean."""
        try:
            value = orjson.loads(data)
            plain = data.isascii() and b"\\u" not in data
        except orjson.JSONDecodeError:
            plain = False
            try:
                value = self._lenient.decode(to_text(data).removeprefix("\ufeff"))
            except RecursionError:
                return Bad(number, _TOO_DEEP, data)
            except json.JSONDecodeError as error:
                return Bad(number, f"not JSON ({error.msg} at character {error.pos + 1}): {_MEND}", data)
            except ValueError as error:
                return Bad(number, str(error), data)
        if _too_deep(value):
            return Bad(number, _TOO_DEEP, data)
        return RawRow(number, value if plain else clean(value, self._changes))

    def rows(self, number: int, data: bytes) -> list[RawRow] | None:
        """Records with commas between them, numbered from `number`; None where they must be read one by one."""
        try:
            values: list[JsonValue] = orjson.loads(b"[%b]" % data)
        except orjson.JSONDecodeError:
            return None
        if any(map(_too_deep, values)):
            return None
        if not data.isascii() or b"\\u" in data:
            values = [clean(value, self._changes) for value in values]
        return list(map(RawRow, range(number, number + len(values)), values))

    def is_cut(self, data: bytes) -> bool:
        """Whether `data` is the beginning of a value: it fails at its very end, not before."""
        try:
            self._lenient.decode(data.decode("utf-8", "replace"))
        except RecursionError:
            return True
        except json.JSONDecodeError as error:
            return error.msg.startswith("Unterminated string") or error.pos >= len(error.doc) - len("-Infinity")
        return True

    def _whole(self, digits: str) -> int | float | None:
        value = int(digits) if len(digits) <= 20 else None
        return value if value is not None and -(2**63) <= value < 2**64 else self._real(digits)

    def _real(self, digits: str) -> float | None:
        value = float(digits)
        if math.isfinite(value):
            return value
        self._null(digits)
        return None

    def _null(self, _: str) -> None:
        self._changes.number += 1


def to_text(data: bytes) -> str:
    """UTF-8 to text, lone surrogates let through for the cleaning; raises `ValueError` with the why of a `Bad`."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"not UTF-8 at byte {error.start + 1} of it (Latin-1 or Windows-1252, perhaps): save the file as UTF-8"
        ) from None


def lines(stream: Stream) -> Iterator[bytes]:
    """Lines, split at newlines alone. One that is longer than `MAX_RECORD` is cut to one byte more than that.

    When the stream breaks off, the line that it broke off in is not given: it is `stream.tail`.
    """
    parts: list[bytes] = []
    size = 0
    for block in stream:
        first, *rest = block.split(b"\n")
        if size <= MAX_RECORD:
            parts.append(first[: MAX_RECORD + 1 - size])
            size += len(first)
        if rest:
            yield b"".join(parts)
            yield from rest[:-1]
            parts, size = [rest[-1]], len(rest[-1])
    if stream.broken:
        stream.tail = b"".join(parts)
    elif size:
        yield b"".join(parts)


def json_lines(stream: Stream, changes: TextChanges) -> Iterator[RawRow | Bad]:
    """One record a line; blank lines are none. The row is the number of the line."""
    parser = Json(changes)
    number = 0
    for number, line in enumerate(lines(stream), 1):
        if len(line) > MAX_RECORD:
            yield Bad(number, _TOO_LONG, line)
        elif line and not line.isspace():
            yield parser.row(number, line)
    if stream.broken:
        yield Bad(number + 1, stream.broken, stream.tail)


class JsonValues:
    """The records of a list, of lists one after another, or of values without a list. The row counts records."""

    def __init__(self, stream: Stream, changes: TextChanges) -> None:
        self._stream, self._blocks, self._parser = stream, iter(stream), Json(changes)
        self._data, self._at, self._ended = b"", 0, False
        self._row, self._in_list = 1, False
        self._endless = 0  # broken records that have no end of their own
        self._one_by_one = 0  # up to here in `_data`, records must be read one by one

    def __iter__(self) -> Iterator[RawRow | Bad]:
        while self._next_value():
            mark = self._data[self._at]
            if mark == (_CLOSE if self._in_list else _OPEN):
                self._in_list = not self._in_list
                self._at += 1
            elif rows := self._many():
                yield from rows
            else:
                yield self._one()
        if self._stream.broken and self._row:
            yield Bad(self._row, self._stream.broken, b"")
        elif self._in_list:
            yield Bad(self._row, f"the list is not closed after {self._row - 1} records: get the file whole", b"")

    def _next_value(self) -> bool:
        while self._row:
            gap = _GAP.match(self._data, self._at)
            self._at = gap.end() if gap else self._at
            if self._at < len(self._data):
                return True
            if not self._refill():
                return False
        return False

    def _refill(self) -> bool:
        """Drop what is read and double the rest; False when there is no more, or the record is too long."""
        if self._ended or len(self._data) - self._at > MAX_RECORD:
            return False
        parts, size = [self._data[self._at :]], 0
        for block in self._blocks:
            parts.append(block)
            size += len(block)
            if size >= max(BLOCK, len(parts[0])) or not parts[0]:
                break
        else:
            self._ended = True
        self._one_by_one = max(0, self._one_by_one - self._at)
        self._data, self._at = b"".join(parts), 0
        return True

    def _many(self) -> list[RawRow]:
        """All records up to the last one that begins in `_data`, if they can be parsed together."""
        first = _FIRST_KEY.match(self._data, self._at)
        if first is None or self._at < self._one_by_one:
            return []
        last = self._data.rfind(first[0], self._at + 1)
        between = _BETWEEN.search(self._data, max(self._at, last - 64), last) if last > 0 else None
        if between is None:
            self._one_by_one = last if last > 0 else len(self._data)
            return []
        end = between.start() + 1
        rows = self._parser.rows(self._row, self._data[self._at : end])
        if rows is None:
            self._one_by_one = end
            return []
        self._at = end
        self._row += len(rows)
        return rows

    def _one(self) -> RawRow | Bad:
        size, depth = self._extent()
        while not size and not (depth > _HOPELESS and self._next_record()) and self._refill():
            size, depth = self._extent()
        row, why = self._row, _NO_END
        self._row += 1
        if depth > MAX_DEPTH:
            why = _TOO_DEEP
        elif size > MAX_RECORD or not (size or self._ended):
            return self._give_up(row, _TOO_LONG)
        elif size:
            made = self._parser.row(row, self._data[self._at : self._at + size])
            if isinstance(made, RawRow):
                self._at += size
                return made
            why = made.why
        elif self._parser.is_cut(self._data[self._at :]):
            return self._give_up(row, _CUT)
        size = self._broken_extent(size)
        if not size:
            return self._give_up(row, why)
        self._at += size
        return Bad(row, why, self._data[self._at - size : self._at])

    def _extent(self) -> tuple[int, int]:
        return extent(self._data, self._at, alone=self._ended and not self._in_list)

    def _broken_extent(self, size: int) -> int:
        """How far a broken record reaches, 0 where that cannot be told; `size` is where its brackets close.

        A quotation mark or a bracket too many or too few makes it end too early, or swallow others.
        """
        if size and (nearer := self._next_record(size)):
            return nearer
        end = self._at + size
        mates = self._data[self._at : self._at + 1] + self._data[end - 1 : end]
        if size and (mates in (b"{}", b"[]") or mates[0] not in b"{[") and _AFTER.match(self._data, end):
            return size
        self._endless += 1
        if self._endless > _MOST_ENDLESS:
            return 0
        while not (found := self._next_record()) and self._refill():
            pass
        return found or size

    def _next_record(self, within: int | None = None) -> int:
        """How far it is to where the next record begins, as this one begins: `}`, a comma, `{"id":`. 0: not found."""
        first = _FIRST_KEY.match(self._data, self._at)
        if first is None:
            return 0
        end = len(self._data) if within is None else self._at + within
        found = re.compile(rb"\}\s*+,?\s*+" + re.escape(first[0])).search(self._data, first.end(), end)
        return found.start() + 1 - self._at if found else 0

    def _give_up(self, row: int, why: str) -> Bad:
        """Nothing behind this can be told apart: one `Bad` for it all."""
        rest = self._data[self._at :]
        self._row, self._in_list = 0, False
        if why == _CUT:
            return Bad(row, self._stream.broken or why, rest)
        return Bad(row, f"{why}; {_REST}", rest)


def extent(data: bytes, at: int, *, alone: bool) -> tuple[int, int]:
    """How long the value is that begins at `at` (0: `data` does not hold its end), and how deep it is nested.

    A bare number at the end of `data` is whole only when it stands `alone`, in no list.
    """
    mark = data[at]
    if mark == _QUOTE:
        text = _STRING.match(data, at)
        return (text.end() - at if text else 0), 0
    if stray := _STRAY.match(data, at):
        return stray.end() - at, 0
    if mark not in b"[{":
        word = _SCALAR.match(data, at)
        end = word.end() if word else at + 1
        return (end - at if end < len(data) or alone else 0), 0
    depth = deepest = 0
    end = at
    while depth <= _HOPELESS and (found := _BRACKET.match(data, end)):
        end = found.end()
        if data[end - 1] in b"[{":
            depth += 1
            deepest = max(depth, deepest)
        else:
            depth -= 1
            if not depth:
                return end - at, deepest
    return 0, deepest


def strings_closed(line: bytes) -> bool:
    """Whether no string is open at the end of a line."""
    return _STRINGS_CLOSED.fullmatch(line) is not None


def _too_deep(value: JsonValue) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [
            item
            for outer in level
            for item in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True
