"""Published benchmark files, read as they are; what is missing or broken is a `UserError` that names the file."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from caravan.errors import UserError

Row = tuple[str, dict[str, Any]]
"""FILE:ROW (1-based; the header of a csv is not counted) and the row."""


def locate(folder: Path, *patterns: str) -> list[Path]:
    """The files of the first pattern that finds any, sorted by name, from the shallowest folder that holds one.

    Archives and repositories put the same files in a folder of their own (`data/test/`), so folders below are
    searched too. Hidden files, such as the `._NAME` that some archives carry, do not count.
    """
    if not folder.exists():
        raise UserError("no such folder", where=str(folder), fix="lay out the published files there")
    for pattern in patterns:
        found = [
            p
            for p in folder.rglob(pattern)
            if p.is_file() and not any(part.startswith(".") for part in p.relative_to(folder).parts)
        ]
        if found:
            parent = min((p.parent for p in found), key=lambda p: (len(p.parts), str(p)))
            return sorted(p for p in found if p.parent == parent)
    raise UserError(
        f"no file {' or '.join(patterns)} here", where=str(folder), fix="put the published files into this folder"
    )


def read_text(path: Path) -> str:
    """A whole text file, gunzipped where its name ends in .gz, line ends as they are, without a byte order mark."""
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", where=str(path), fix=AGAIN) from None
    except (EOFError, zlib.error):
        raise UserError("the gzip data break off", where=str(path), fix=AGAIN) from None
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 (byte {error.start})", where=str(path), fix=AGAIN) from None
    if text.startswith("version https://git-lfs"):
        raise UserError("a Git LFS pointer, not the file itself", where=str(path), fix="run `git lfs pull` there")
    return text


AGAIN = "fetch the published file again"


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """FILE:LINE and text of each line that is not blank; only a line feed ends a line."""
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            yield f"{path}:{number}", line.removesuffix("\r")


def csv_records(path: Path) -> Iterator[tuple[str, list[str]]]:
    """FILE:RECORD and cells. A record may hold line breaks; every cell stays text, "None" and "007" too."""
    try:
        for number, cells in enumerate(csv.reader(io.StringIO(read_text(path), newline=""), strict=True), 1):
            if cells:
                yield f"{path}:{number}", cells
    except csv.Error as error:
        raise UserError(f"not csv: {error}", where=str(path), fix=AGAIN) from None


def json_value(path: Path) -> Any:
    """The value of a JSON file."""
    return _json(read_text(path), str(path))


def rows(path: Path) -> Iterator[Row]:
    """The objects of a JSON Lines file (also gzipped), of a JSON list, or of a Parquet file."""
    if path.suffix == ".parquet":
        values: Iterator[tuple[str, Any]] = _parquet(path)
    elif path.suffix == ".json":
        values = _json_list(path)
    else:
        values = ((where, _json(line, where)) for where, line in lines(path))
    for where, value in values:
        if not isinstance(value, dict):
            raise UserError(f"an object was expected, not {_kind(value)}", where=where, fix=AGAIN)
        yield where, value


def text(row: dict[str, Any], key: str, where: str) -> str:
    """The string at a key, which must be there."""
    value = row.get(key)
    if not isinstance(value, str):
        what = f"{key!r} is missing" if key not in row else f"{key!r} is {_kind(value)}, not a string"
        raise UserError(what, where=where, fix=AGAIN)
    return value


def entries(row: Any, key: str, where: str) -> list[dict[str, Any]]:
    """The list of objects at a key, which must be there."""
    value = row.get(key) if isinstance(row, dict) else None
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        raise UserError(f"no list of objects at {key!r}", where=where, fix=AGAIN)
    return value


def unique(own_id: str, seen: set[str]) -> str:
    """The id, or ID#2, ID#3, ... where it has been seen; what is returned is then seen."""
    name, copy = own_id, 1
    while name in seen:
        copy += 1
        name = f"{own_id}#{copy}"
    seen.add(name)
    return name


def _json(data: str, where: str) -> Any:
    try:
        value = json.loads(data)
        if "\\ud" in data.lower():  # half a surrogate pair, which no file can hold, becomes U+FFFD
            whole = json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            value = json.loads(whole)
        return value
    except json.JSONDecodeError as error:
        raise UserError(f"not JSON: {error.msg} (character {error.pos})", where=where, fix=AGAIN) from None
    except ValueError as error:  # a number of thousands of digits
        raise UserError(f"not JSON: {error}", where=where, fix=AGAIN) from None
    except RecursionError:
        raise UserError("JSON nested too deeply", where=where, fix=AGAIN) from None


def _json_list(path: Path) -> Iterator[tuple[str, Any]]:
    value = json_value(path)
    if not isinstance(value, list):
        raise UserError(f"a list was expected, not {_kind(value)}", where=str(path), fix=AGAIN)
    return ((f"{path}:{number}", v) for number, v in enumerate(value, 1))


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:  # the last: text that is no UTF-8, times that are none
        raise UserError(f"not Parquet: {str(error).splitlines()[0]}", where=str(path), fix=AGAIN) from None
    return ((f"{path}:{number}", v) for number, v in enumerate(found, 1))


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "a string", bool: "a truth value", type(None): "null"}.get(
        type(value), "a number"
    )
