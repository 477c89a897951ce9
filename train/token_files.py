"""Token ids on disk: a folder of the cache, there whole or not at all, checked and memory-mapped when read.

`ids` (int32) and `turns` (uint8) are bare arrays, row after row; `rows.arrow` says of each row how long it is and what
became of it; `made.json` holds the size and checksum of each.
"""

import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import polars as pl

from caravan.cache import cache_folder

_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "kept": pl.Int64,  # tokens in `ids`; 0: left out
    "length": pl.Int64,  # tokens before max_length cut
    "firsts": pl.List(pl.Int32),  # of each answer's tokens, before the cut
    "afters": pl.List(pl.Int32),
    "code": pl.String,  # why it was left out, or null
    "detail": pl.String,
    "notes": pl.List(pl.String),
}
_CHUNK = 1 << 24


@dataclass(frozen=True)
class Stored:
    """What is read back: the arrays as read-only maps, and one record a row."""

    ids: npt.NDArray[np.int32]
    turns: npt.NDArray[np.uint8]
    records: pl.DataFrame


class Writer:
    """Takes rows in order."""

    def __init__(self, ids: BinaryIO, turns: BinaryIO) -> None:
        self._ids, self._turns = ids, turns
        self._parts: list[pl.DataFrame] = []

    def add(self, ids: npt.NDArray[np.int32], turns: npt.NDArray[np.uint8]) -> None:
        """Append one row's tokens."""
        self._ids.write(ids.tobytes())
        self._turns.write(turns.tobytes())

    def records(self, records: list[dict[str, Any]]) -> None:
        """Append what is said of rows, used or left out."""
        self._parts.append(pl.DataFrame(records, schema=_SCHEMA))

    @property
    def all_records(self) -> pl.DataFrame:
        """Everything that was said."""
        return pl.concat([pl.DataFrame(schema=_SCHEMA), *self._parts])


def folder_of(key: str) -> Path:
    """Where the tokens of a key lie, or will."""
    return cache_folder() / "tokens" / key


@contextmanager
def written(key: str) -> Iterator[Writer]:
    """Write a key's files aside and move them into place when the block ends well.

    Of two processes that make the same, the second leaves the first one's in place; damaged files give way.
    """
    place = folder_of(key)
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=place.parent))
    try:
        with (aside / "ids").open("wb") as ids, (aside / "turns").open("wb") as turns:
            writer = Writer(ids, turns)
            yield writer
        writer.all_records.write_ipc(aside / "rows.arrow")
        made = {name: _seal(aside / name) for name in ("ids", "turns", "rows.arrow")}
        (aside / "made.json").write_text(json.dumps(made), encoding="utf-8")
        _move(aside, place)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def read(key: str) -> Stored | None:
    """A key's files; None when they are missing or are not what was written."""
    place = folder_of(key)
    try:
        made = json.loads((place / "made.json").read_bytes())
        if made != {name: _seal(place / name) for name in ("ids", "turns", "rows.arrow")}:
            return None
    except (OSError, ValueError):
        return None
    records = pl.read_ipc((place / "rows.arrow").read_bytes())
    return Stored(_mapped(place / "ids", np.int32), _mapped(place / "turns", np.uint8), records)


def _mapped(path: Path, kind: type[Any]) -> npt.NDArray[Any]:
    if path.stat().st_size == 0:
        return np.zeros(0, kind)
    return np.memmap(path, kind, mode="r")


def _seal(path: Path) -> list[int]:
    """Size and CRC-32 of a file."""
    size = check = 0
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            size, check = size + len(block), zlib.crc32(block, check)
    return [size, check]


def _move(aside: Path, place: Path) -> None:
    """Rename into place; of several processes at it one wins, and none of them fails."""
    while True:
        try:
            os.rename(aside, place)
            return
        except OSError:
            if not os.path.lexists(place):  # no space, no rights, ...
                raise
        if read(place.name) is not None:
            return
        with (
            suppress(FileNotFoundError),
            tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as old,
        ):
            os.rename(place, Path(old) / "damaged")
