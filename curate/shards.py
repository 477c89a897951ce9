"""Shards: files named by a hash of inputs, settings and version, written aside and then renamed.

That is cache, resume and provenance in one: a shard that exists is whole, and is never made again.
"""

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from caravan.cache import cache_folder, written_aside
from caravan.errors import UserError

ROW_GROUP = 8192


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
