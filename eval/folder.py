"""A folder that one command writes, and that a later one goes on with: held while at work, begun for one thing only."""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caravan.cache import written_aside
from caravan.errors import UserError

LOCK = ".lock"


@contextmanager
def held(folder: Path, name: str, about: Mapping[str, Any], kind: str) -> Iterator[None]:
    """Hold the folder, so that no second command writes into it; the file `name` in it says what it was begun for.

    `about` is a value of JSON; `kind` is what the folder holds, in a word. Raises `UserError` where the folder holds
    something else, was begun for something else, or another command holds it.
    """
    path, fix = folder / name, "name another folder with --out"
    if folder.exists() and not path.exists() and (not folder.is_dir() or any(_visible(folder))):
        raise UserError(f"is there already, and is no {kind}", where=str(folder), fix=fix)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            what = f"another command is writing this {kind}"
            raise UserError(what, where=str(folder), fix=f"wait for it, or {fix}") from None
        _begin(path, about, kind, f"{fix}, or remove it")
        yield


def _visible(folder: Path) -> Iterator[Path]:
    """What lies in a folder, without the lock and what a killed command left of a file it was writing."""
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def _begin(path: Path, about: Mapping[str, Any], kind: str, fix: str) -> None:
    """Write down what the folder is for, or see that it is what it was begun for."""
    if not path.exists():
        with written_aside(path) as aside:
            aside.write_text(json.dumps(about, indent=2, ensure_ascii=False), encoding="utf-8")
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError("not JSON", where=str(path), fix=fix) from None
    if before != about:
        parts = [key for key in about if not isinstance(before, dict) or before.get(key) != about[key]]
        raise UserError(f"holds another {kind}: {', '.join(parts)} differ", where=str(path.parent), fix=fix)
