"""Bytes of strangers' logs made into JSON values, and text that fits a table: nothing in a log is taken on trust."""

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

from caravan.errors import UserError

MEMBER_LIMIT = 512 * 2**20  # bytes of one file, or of one member of an archive; one sample's log is rarely 10 MiB
PACKED_LIMIT, PACKED_RATIO = 32 * 2**20, 300  # above so many bytes JSON does not shrink further; a bomb does
ARCHIVE_LIMIT = 64 * 2**30  # bytes of all members together
HUGE = 1e50  # no score is larger, and its fourth power can still be computed with
ZSTD = 93  # the method that zipfile knows of only from Python 3.14 on
AGAIN = "copy the log again, whole"


def json_of(data: bytes, where: str) -> Any:
    """The value of JSON, in which NaN and Infinity may stand; what is broken is a `UserError`."""
    try:
        return json.loads(data.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise UserError(f"not JSON: {error.msg} (character {error.pos})", where=where, fix=AGAIN) from None
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 (byte {error.start})", where=where, fix=AGAIN) from None
    except (RecursionError, ValueError) as error:  # the latter: a number of thousands of digits
        what = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UserError(f"JSON that cannot be read: {what}", where=where, fix=AGAIN) from None


def json_file(path: Path) -> Any:
    """The value of a JSON file."""
    return json_of(_bytes(path), str(path))


def json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """FILE:LINE and value of each line that is not blank; a file that is one JSON list gives its members."""
    with _opened(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(MEMBER_LIMIT), b""), 1):
            if number == 1 and line.lstrip(b"\xef\xbb\xbf \t").startswith(b"["):
                value = json_file(path)
                yield from ((f"{path}:{at}", member) for at, member in enumerate(value, 1))
                return
            if line.strip():
                yield f"{path}:{number}", json_of(line, f"{path}:{number}")


class Archive:
    """The members of a zip file, the last of each name, also where they are packed with Zstandard."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise UserError(f"not a zip archive that can be read: {error}", where=str(path), fix=AGAIN) from None
        self._members = {info.filename: info for info in self._zip.infolist()}
        if sum(info.file_size for info in self._members.values()) > ARCHIVE_LIMIT:
            what = f"unpacked it would be over {ARCHIVE_LIMIT // 2**30} GiB"
            raise UserError(what, where=str(path), fix="split the log, or leave it out")

    @property
    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._members)

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def json(self, name: str) -> Any:
        """The value of a member that is JSON."""
        where = f"{self._path}:{name}"
        info = self._members[name]
        if info.file_size > MEMBER_LIMIT:
            raise UserError(f"unpacked it would be over {MEMBER_LIMIT // 2**20} MiB", where=where)
        if info.file_size > max(PACKED_LIMIT, PACKED_RATIO * info.compress_size):
            raise UserError(f"{info.compress_size:,} bytes that unpack to {info.file_size:,}: not read", where=where)
        try:
            with self._unpacked(info) as file:
                data = file.read(info.file_size + 1)
        except Exception as error:  # zipfile, zlib and zstandard each have their own for damage
            raise UserError(f"cannot be unpacked: {error}", where=where, fix=AGAIN) from None
        if len(data) != info.file_size or zlib.crc32(data) != info.CRC:
            raise UserError("what is unpacked is not what was packed", where=where, fix=AGAIN)
        return json_of(data, where)

    def _unpacked(self, info: zipfile.ZipInfo) -> IO[bytes]:
        if info.compress_type != ZSTD:
            return self._zip.open(info)
        import zstandard

        with self._path.open("rb") as file:
            file.seek(info.header_offset)
            header = file.read(30)  # of the member itself; name and extra field follow, then the data
            if header[:4] != b"PK\x03\x04":
                raise zipfile.BadZipFile("no member begins where the directory says")
            file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
            packed = file.read(info.compress_size)
        reader: IO[bytes] = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
        return reader


def mapping(value: Any) -> Mapping[str, Any]:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def number(value: Any) -> float | None:
    """The value where it is a truth value or a number below `HUGE`, else None."""
    if not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if abs(found) < HUGE else None


def whole(value: Any) -> int | None:
    """The value where it is a whole number, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def plain(value: Any, limit: int = 200) -> str:
    """The value as text that any file can hold, cut to `limit` characters; what was cut off stays told apart."""
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= limit else f"{text[: limit - 9]}…{digest(text)[:8]}"


def digest(value: Any) -> str:
    """A short hash of any JSON value."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _bytes(path: Path) -> bytes:
    with _opened(path) as file:
        data = file.read(MEMBER_LIMIT + 1)
    if len(data) > MEMBER_LIMIT:
        raise UserError(
            f"over {MEMBER_LIMIT // 2**20} MiB", where=str(path), fix="keep such logs as .eval or as JSON Lines"
        )
    return data


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", where=str(path)) from None
