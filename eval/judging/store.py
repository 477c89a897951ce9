"""Replies that were paid for, kept as they arrive: in the folder of the run, and by content in the cache.

A file of JSON Lines that is only ever added to, one write a reply, so that a kill loses what is under way and no more;
a line that broke off is passed over. Several commands may add to the cache at once.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from caravan.errors import UserError


@dataclass(frozen=True, slots=True)
class Kept:
    """A reply as it came; token counts are the server's, or estimates where it gave none."""

    text: str
    prompt_tokens: int
    answer_tokens: int


class Replies:
    """Replies by key: those `known` and those in files; a new one is in each of the files before `add` returns."""

    def __init__(self, *paths: Path, known: Mapping[str, Kept] | None = None) -> None:
        self._known = dict(known or {})
        for path in paths:
            self._known |= read(path)
        self._paths = paths
        self._files: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            os.close(file)

    def get(self, name: str) -> Kept | None:
        """The reply of a key, if there is one."""
        return self._known.get(name)

    def add(self, name: str, kept: Kept) -> None:
        """Keep a reply; the first of a key stays."""
        if name in self._known:
            return
        self._known[name] = kept
        if not self._files:
            self._files = [_opened(path) for path in self._paths]
        # The line break before it ends a line that a killed command left unfinished.
        data = ("\n" + json.dumps({"key": name, **asdict(kept)}) + "\n").encode()
        for file in self._files:
            if os.write(file, data) != len(data):
                raise UserError("a reply could not be written whole", fix="free some space, and run it again")


def _opened(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def read(path: Path) -> dict[str, Kept]:
    """The replies in a file, by key; nothing where there is no file."""
    found: dict[str, Kept] = {}
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return found
    for line in data.split(b"\n"):
        try:
            row = json.loads(line)
            name, text, *tokens = (row[field] for field in ("key", "text", "prompt_tokens", "answer_tokens"))
            if isinstance(name, str) and isinstance(text, str) and all(isinstance(n, int) for n in tokens):
                found.setdefault(name, Kept(text, *tokens))
        except (ValueError, LookupError, TypeError):
            continue
    return found
