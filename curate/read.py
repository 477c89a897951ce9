"""Files to raw rows. What cannot be read is quarantined: file, line, why, and the raw bytes as text."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from caravan.converters.schema import RawRow


@dataclass(frozen=True)
class Unreadable:
    """What could not be read: `row` is its line or record (0: the whole file), `raw` its bytes as text, cut."""

    file: str
    row: int
    why: str
    raw: str


@dataclass(frozen=True)
class Input:
    """One file to read: `path` on disk, and `name`, how reports name it."""

    path: Path
    name: str


def expand(path: str, where: str = "") -> list[Input]:
    """A file, folder, glob or `hub:OWNER/NAME...` to files, sorted; `UserError` when there is none."""
    raise NotImplementedError


def read(source: Input) -> Iterator[RawRow | Unreadable]:
    """All raw rows of a file in order, and what could not be read. Never raises for what a file holds."""
    raise NotImplementedError


def head(source: Input, rows: int = 20) -> list[RawRow]:
    """The first raw rows, for guessing the format, without reading all of a large file."""
    raise NotImplementedError
