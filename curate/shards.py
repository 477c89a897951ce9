"""Shards: files named by a hash of inputs, settings and version, written aside and then renamed.

That is cache, resume and provenance in one: a shard that exists is whole, and is never made again. The cache lies in
`$CARAVAN_CACHE`, else `$XDG_CACHE_HOME/caravan`, else `~/.cache/caravan`; it may be deleted at any time.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import JsonValue

from caravan.converters.schema import to_json
from caravan.errors import UserError

ROW_GROUP = 8192


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


def key(*parts: JsonValue) -> str:
    """128 bits in hex over any JSON values: the name of a shard."""
    return hashlib.blake2b(to_json(list(parts)).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


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


def write_table(table: pa.Table, path: Path, *, row_group: int = ROW_GROUP) -> None:
    """Write a Parquet file (zstd) in one motion: afterwards it is there whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside:
        pq.write_table(
            table, aside, compression="zstd", compression_level=1, row_group_size=row_group, write_page_checksum=True
        )


def read_frame(shard: str) -> pl.DataFrame:
    """Read a shard. One that is damaged is removed, so that the next run makes it again, and `UserError` says so."""
    path = cache_folder() / shard
    try:
        return pl.DataFrame(pq.read_table(path, page_checksum_verification=True))
    except (OSError, pa.ArrowException):
        path.unlink(missing_ok=True)
        raise UserError(
            "a part of the cache is damaged or gone", where=str(path), fix="run the same command again"
        ) from None


def cached_bytes() -> int:
    """How much the cache holds, in bytes."""
    return sum(file.stat().st_size for file in cache_folder().rglob("*") if file.is_file())
