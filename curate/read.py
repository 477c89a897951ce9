"""Files to raw rows. What cannot be read is quarantined: file, line, why, and the raw bytes as text.

The format is what a file's name says where its content agrees, else what its content says (JSON Lines under `.json`,
gzip under any name). Each file is a stream: `records.py` reads JSON, `tables.py` reads csv, tsv and Parquet.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from glob import glob, has_magic
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from pydantic import JsonValue

from caravan.converters.schema import RawRow
from caravan.curate.input import Input
from caravan.curate.records import Json, JsonValues, extent, json_lines, strings_closed
from caravan.curate.tables import csv_rows, parquet_rows, tsv_rows
from caravan.curate.text import TextChanges
from caravan.curate.unpack import PARQUET, Bad, Stream, Unusable, as_utf8, open_file, unpacked
from caravan.errors import UserError

__all__ = ["Input", "TextChanges", "Unreadable", "expand", "head", "read"]

SUFFIXES = (".json", ".jsonl", ".ndjson", ".parquet", ".csv", ".tsv")
_PACKED = (".gz", ".zst")
_JSON_LINES = (".jsonl", ".ndjson")
RAW_LIMIT = 2000  # characters of what could not be read that are kept
MOST_UNREADABLE = 1000  # unreadable rows of a file that are named one by one
_MIXTURE = {"mix.parquet", "manifest.json"}
_MAX_GROWTH = 200  # a Parquet file is compressed itself: inside gzip, more growth than this is a bomb


@dataclass(frozen=True)
class Unreadable:
    """What could not be read: `row` is its line or record (0: the whole file), `raw` its bytes as text, cut.

    `rows` is how many lines or records it stands for: 1, but for the last one of a file with more than a thousand.
    """

    file: str
    row: int
    why: str
    raw: str
    rows: int = 1


def expand(path: str, where: str = "") -> list[Input]:
    """A file, folder, glob or `hub:OWNER/NAME...` to files, sorted by name; `UserError` when there is none.

    A folder means all files below it whose names end in a known suffix, without hidden ones and without mixtures
    that this program wrote; a mixture's own folder means its `mix.parquet`. What is found but is no file (a pipe, a
    dangling link, a folder that may not be listed) is kept, for `read` to say so. `where` names the place that holds
    the path, for the error.
    """
    if path.startswith("hub:"):
        from caravan.curate.hub import fetch  # the hub's library takes most of a second to import

        return [fetch(path, where)]
    given = os.path.expanduser(path)
    if "://" in path:
        raise UserError(f"{path}: addresses are not read", where=where, fix="download it, or use hub:OWNER/NAME")
    if not path or "\0" in path:
        raise UserError(f"{path!r} is no path", where=where, fix="give a file, a folder, a glob or hub:OWNER/NAME")
    if os.path.lexists(given):
        places = [given]
    elif has_magic(given):
        places = glob(given, recursive=True)
    else:
        places = []
    found: dict[str, Input] = {}
    for place in places:
        files = _below(place) if os.path.isdir(place) else [place]
        found |= {name: Input(Path(name), _shown(name)) for name in (Path(file).as_posix() for file in files)}
    if places != [given]:
        found = {name: one for name, one in found.items() if _suffix(name) in SUFFIXES}
    if not found:
        raise _nothing(path, given, places, where)
    return [found[name] for name in sorted(found)]


def read(source: Input, changes: TextChanges | None = None) -> Iterator[RawRow | Unreadable]:
    """All raw rows of a file in order, and what could not be read. Never raises for what a file holds.

    Every string comes clean (`text.clean`); what that changed is counted in `changes`. Beyond `MOST_UNREADABLE`,
    unreadable rows are counted in one last `Unreadable` and no longer named.
    """
    unreadable, first_unnamed = 0, 0
    for item in _items(source, TextChanges() if changes is None else changes):
        if isinstance(item, RawRow):
            yield item
            continue
        unreadable += 1
        if unreadable <= MOST_UNREADABLE:
            raw = item.raw[: 4 * RAW_LIMIT].decode("utf-8", "backslashreplace")
            yield Unreadable(source.name, item.row, item.why, raw[:RAW_LIMIT])
        elif not first_unnamed:
            first_unnamed = item.row
    if first_unnamed:
        unnamed = unreadable - MOST_UNREADABLE
        why = f"{unnamed} more rows cannot be read, from here on; those before them say why"
        yield Unreadable(source.name, first_unnamed, why, "", unnamed)


def head(source: Input, rows: int = 20) -> list[RawRow]:
    """The first raw rows, for guessing the format, without reading all of a large file."""
    return list(islice((item for item in _items(source, TextChanges()) if isinstance(item, RawRow)), rows))


def _items(source: Input, changes: TextChanges) -> Iterator[RawRow | Bad]:
    try:
        with open_file(source.path) as file:
            before = os.fstat(file.fileno())
            yield from _rows(file, source, changes)
            after = os.stat(source.path)
    except Unusable as error:
        yield Bad(0, str(error), b"")
    except OSError as error:
        yield Bad(0, f"the file cannot be read any further ({error.strerror or error}): check the disk", b"")
    else:
        if (before.st_size, before.st_mtime_ns, before.st_ino) != (after.st_size, after.st_mtime_ns, after.st_ino):
            yield Bad(0, "the file changed while it was read: run again when nobody writes to it", b"")


def _rows(file: BinaryIO, source: Input, changes: TextChanges) -> Iterator[RawRow | Bad]:
    stream = unpacked(file)
    if stream.head.startswith(PARQUET):
        with _seekable(file, stream) as table:
            yield from parquet_rows(table, changes)
        return
    name = source.path.name
    text = as_utf8(stream)
    match _format(name, text.head):
        case "tsv":
            yield from tsv_rows(text, changes)
        case "csv":
            yield from csv_rows(text, changes)
        case "lines":
            yield from json_lines(text, changes)
        case "values":
            yield from JsonValues(text, changes)


def _format(name: str, head: bytes) -> str:
    """`tsv`, `csv`, `lines` (of JSON) or `values` (a list, or values one after another)."""
    suffix, text = _suffix(name), head.lstrip()
    if not text:
        raise Unusable("empty file: nothing but white space")
    first, _, rest = text.partition(b"\n")
    if suffix in (".csv", ".tsv") and first.strip() not in (b"[", b"{") and not isinstance(_json(first), dict | list):
        return suffix[1:]
    if text.startswith(b"["):
        several = rest.lstrip().startswith(b"[") and _json(first) is not None
        return "lines" if several and suffix in _JSON_LINES else "values"
    if _json(first) is not None:
        return "lines"
    if text.startswith(b"{"):
        if suffix in _JSON_LINES:
            # Only an object that is spread over lines is read as a value.
            spread = rest.strip() and strings_closed(first) and not _mostly_objects(rest.strip().split(b"\n"))
            return "values" if spread or _several(first) else "lines"
        return "values"
    if suffix in (*_JSON_LINES, ".json") and any(isinstance(_json(line), dict) for line in rest.split(b"\n")):
        return "lines"
    begins = text[:20].decode("utf-8", "replace")
    if suffix in SUFFIXES:
        raise Unusable(f"neither Parquet nor JSON, it begins with {begins!r}: name it .csv or .tsv if it is that")
    raise Unusable(f"no known format, it begins with {begins!r}: give {', '.join(SUFFIXES)} (also .gz, .zst)")


def _json(line: bytes) -> JsonValue:
    """The value that a line of the head holds, None when it is not one whole value."""
    item = Json(TextChanges()).row(0, line)
    return item.value if isinstance(item, RawRow) else None


def _mostly_objects(lines: list[bytes]) -> bool:
    return 2 * sum(isinstance(_json(line), dict) for line in lines) >= len(lines) > 0


def _several(line: bytes) -> bool:
    """Whether a line holds one object after another."""
    size, _ = extent(line, 0, alone=False)
    return line[size:].lstrip(b" \t\r,")[:1] == b"{" and _json(line[:size]) is not None


def _suffix(name: str) -> str:
    stem, suffix = os.path.splitext(name.lower())
    return os.path.splitext(stem)[1] if suffix in _PACKED else suffix


@contextmanager
def _seekable(file: BinaryIO, stream: Stream) -> Iterator[BinaryIO]:
    """A file that can be read from its end, as Parquet must be: where it is packed, unpacked into a temporary one."""
    # Not through `file` itself: where it is packed, the unpacker behind `stream` is reading on from its place.
    if os.pread(file.fileno(), len(PARQUET), 0) == PARQUET:
        yield file
        return
    most = _MAX_GROWTH * os.fstat(file.fileno()).st_size
    with tempfile.TemporaryFile() as whole:
        for block in stream:
            whole.write(block)
            if whole.tell() > most:
                raise Unusable(f"Parquet that unpacks to over {_MAX_GROWTH} times its size: unpack it yourself")
        if stream.broken:
            raise Unusable(stream.broken)
        yield whole


def _below(folder: str) -> list[str]:
    """The readable files below a folder, and the folders that could not be listed."""
    found, unlisted = list[str](), list[OSError]()
    seen = set[tuple[int, int]]()
    for place, folders, files in os.walk(folder, followlinks=True, onerror=unlisted.append):
        try:
            status = os.stat(place)
        except OSError:
            continue
        ours = _MIXTURE.issubset(files)
        if ours and place == folder:
            return [os.path.join(folder, "mix.parquet")]
        if ours or (status.st_dev, status.st_ino) in seen:  # links can lead in circles
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [os.path.join(place, f) for f in files if not f.startswith(".") and _suffix(f) in SUFFIXES]
    return found + [str(error.filename) for error in unlisted]


def _shown(name: str) -> str:
    """A file's name as text that can be written everywhere: bytes that are no UTF-8 become visible."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _nothing(path: str, given: str, places: list[str], where: str) -> UserError:
    known = f"known are {', '.join(SUFFIXES)}, also as .gz and .zst"
    if places:
        files = places if has_magic(given) else [f for _, _, names in os.walk(given) for f in names]
        kinds = Counter(os.path.splitext(file)[1] or "without suffix" for file in files)
        seen = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5)) or "nothing"
        return UserError(f"{path}: no file that can be read, but {seen}", where=where, fix=known)
    missing = Path(given)
    folder = next((parent for parent in missing.parents if parent.is_dir()), Path())
    wanted = missing.relative_to(folder).parts[0] if missing.is_relative_to(folder) else missing.name
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        names = []
    near = get_close_matches(wanted, names, n=1)
    held = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    fix = f"did you mean {(folder / near[0]).as_posix()}?" if near else f"{folder} holds {held or 'nothing'}"
    what = "no file matches" if has_magic(given) else "no such file or folder"
    return UserError(f"{path}: {what}", where=where, fix=fix)
