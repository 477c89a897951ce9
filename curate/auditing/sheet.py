"""The file of `curate audit` as a spreadsheet writes and reads it: CSV, one line a dropped row, the mark in front.

Written as UTF-8 with a byte order mark, commas, CRLF. Read as any spreadsheet may have saved it: commas, semicolons
or tabs, UTF-8 or UTF-16. A cell that a spreadsheet would take for a formula, a number or a date gets an apostrophe
in front, and so does one that begins with an apostrophe: reading takes one away, so that every cell comes back.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from caravan.cache import written_aside
from caravan.errors import UserError

Mark = Literal["right", "wrong", "unsure", ""]
MARKS: dict[str, Mark] = {
    "": "",
    **dict.fromkeys(("right", "r", "yes", "y"), "right"),
    **dict.fromkeys(("wrong", "w", "no", "n"), "wrong"),
    **dict.fromkeys(("unsure", "u", "?"), "unsure"),
}
NEEDED = ("mark", "reason", "source", "id", "filter", "dropped", "build")  # what a report cannot do without

_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n']")  # full-width signs count, too
_VALUE = re.compile(
    r"[\d\s.,:/%+$€£¥eE-]*\d[\d\s.,:/%+$€£¥eE-]*|true|false"
    r"|(?=.*\d)[\d\s,.-]*(jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|oct(ober)?"
    r"|nov(ember)?|dec(ember)?)[\d\s,.-]*",
    re.IGNORECASE,
)
_MOST_DIGITS = 15
_SAVE = "save it as `CSV UTF-8`, with the columns as they were drawn"


@dataclass(frozen=True)
class Line:
    """One dropped row as a person sees it; the fields are the columns."""

    mark: str
    note: str  # the person's own words
    reason: str
    evidence: str
    prompt: str
    answer: str
    beside_prompt: str  # of the row that it repeats, or the benchmark item's question
    beside_answer: str
    other_reasons: str
    source: str
    row_id: str
    id: str
    filter: str
    dropped: int  # how many rows were dropped for this reason
    build: str  # a hash of what the build dropped, and why


@dataclass(frozen=True)
class Marked:
    """What is read back of a line, with its number in a spreadsheet: the header is row 1."""

    row: int
    mark: Mark
    note: str
    reason: str
    source: str
    id: str
    filter: str
    dropped: int
    build: str


COLUMNS = tuple(field.name for field in fields(Line))


def write(lines: Iterable[Line], path: Path) -> None:
    """Write the file, whole or not at all."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for line in lines:
        writer.writerow(cell if isinstance(cell, int) else guarded(cell) for cell in asdict(line).values())
    if not path.parent.is_dir():
        raise UserError("no such folder", where=str(path.parent), fix="name a file in a folder that is there")
    with written_aside(path) as aside:
        aside.write_bytes(text.getvalue().encode("utf-8-sig"))


def guarded(text: str) -> str:
    """A text that no spreadsheet takes for anything else."""
    return f"'{text}" if _FORMULA.match(text) or _VALUE.fullmatch(text) else text


def unguarded(cell: str) -> str:
    """The text that `guarded` was given."""
    return cell.removeprefix("'")


def read(path: Path) -> tuple[list[Marked], list[str]]:
    """The lines, and the names of columns that we did not write. `UserError` says what is wrong, and in which row."""
    records = _records(path, _text(path))
    header = [name.strip().casefold() for name in next(records, [])]
    for name in NEEDED:
        if header.count(name) != 1:
            many = "more than one column" if name in header else "no column"
            raise UserError(f"{many} {name!r} in the first line", where=str(path), fix=_SAVE)
    lines, seen = list[Marked](), dict[str, int]()
    foreign = set[str]()
    for number, cells in enumerate(records, start=2):
        if not any(cell.strip() for cell in cells):
            continue
        where = f"{path}:{number}"
        if len(cells) < len(header) or any(cell.strip() for cell in cells[len(header) :]):
            raise UserError(f"{len(cells)} cells, and the first line has {len(header)}", where=where, fix=_SAVE)
        values = dict(zip(header, cells, strict=False))
        line = _line(values, number, where)
        if line.id in seen:
            raise UserError(f"the same row as {seen[line.id]}", where=where, fix="take one of them away")
        seen[line.id] = number
        lines.append(line)
        foreign |= {name for name, cell in values.items() if name not in COLUMNS and cell.strip()}
    if not lines:
        raise UserError("holds no rows", where=str(path), fix="draw it again into another file (--file)")
    if len({line.build for line in lines}) > 1:
        raise UserError("holds rows of different builds", where=str(path), fix="keep the draws apart")
    return lines, sorted(foreign)


def _line(values: dict[str, str], number: int, where: str) -> Marked:
    spelled = unguarded(values["mark"].strip())
    mark = MARKS.get(spelled.strip().casefold())
    if mark is None:
        shown = spelled if len(spelled) <= 30 else spelled[:30] + "..."
        raise UserError(f"no mark {shown!r}", where=where, fix="write right, wrong or unsure, or nothing")
    dropped = unguarded(values["dropped"].strip())
    if not (dropped.isascii() and dropped.isdigit() and len(dropped) <= _MOST_DIGITS and int(dropped)):
        raise UserError("its cell `dropped` is no number any more", where=where, fix=_SAVE)
    texts = {name: unguarded(values[name].strip()) for name in ("reason", "source", "id", "filter", "build")}
    if not texts["id"] or not texts["reason"]:
        raise UserError("its cell `id` or `reason` is empty", where=where, fix=_SAVE)
    return Marked(row=number, mark=mark, note=unguarded(values.get("note", "")), dropped=int(dropped), **texts)


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise UserError("is no file", where=str(path), fix="name the file that was marked")
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError("is not there", where=str(path), fix="draw the rows first: `curate audit`") from None
    except IsADirectoryError:
        raise UserError("is a folder", where=str(path), fix="name the file that was marked") from None
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise UserError("is a workbook and not CSV", where=str(path), fix=_SAVE)
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise UserError("is not text in UTF-8", where=str(path), fix=_SAVE) from None
    if not text.strip():
        raise UserError("is empty", where=str(path), fix="draw it again into another file (--file)")
    if "\0" in text:
        raise UserError("is not CSV", where=str(path), fix=_SAVE)
    return text


def _records(path: Path, text: str) -> Iterator[list[str]]:
    """The cells of each record, parted by whichever of comma, semicolon and tab parts our first line."""
    delimiter = max(",;\t", key=re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    before = csv.field_size_limit(len(text) + 1)  # a row's own id may be of any length
    try:
        yield from reader
    except csv.Error as error:
        what = "holds a cell that is too long" if "field limit" in str(error) else "is no CSV that can be read"
        said = f"{what} (at line {reader.line_num}: {error})"
        raise UserError(said, where=str(path), fix="a quotation mark may be missing; " + _SAVE) from None
    finally:
        csv.field_size_limit(before)
