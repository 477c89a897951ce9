"""The cache folder, names by content, and files written aside and then renamed.

The cache lies in `$CARAVAN_CACHE`, else `$XDG_CACHE_HOME/caravan`, else `~/.cache/caravan`; it may be deleted at any
time. A file in it is named by a hash of what it was made from, and is there whole or not at all.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caravan.errors import UserError


def cache_folder() -> Path:
    """The cache folder, made if it is missing."""
    named = os.environ.get("CARAVAN_CACHE")
    root = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "caravan"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the cache folder cannot be made ({error.strerror})",
            where=str(root),
            fix="set CARAVAN_CACHE to a folder that you can write to",
        ) from None
    return root


def key(*parts: Any) -> str:
    """128 bits in hex over any JSON values: the name of a shard."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends well, remove it otherwise."""
    if path.exists() and not path.is_file():
        raise UserError("is there already, and is not a file", where=str(path), fix="name another")
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
