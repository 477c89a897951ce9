"""A file's bytes: opened without ever blocking, unpacked as a stream, brought to UTF-8.

What is wrong with a whole file is an `Unusable`; what breaks off in the middle ends the stream, and `Stream.broken`
says why, so that the rows before it are read.
"""

import codecs
import gzip
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, NamedTuple

import zstandard

BLOCK = 1 << 20
HEAD = 1 << 16
LFS = b"version https://git-lfs.github.com/spec/"
PARQUET = b"PAR1"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_PACKED_BLOCK = 4096  # zstd can blow 4 bytes up to 128 KiB: a small step keeps a bomb's blocks small
_ARCHIVES = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "rar",
}
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)
_CONTROLS = bytes(b for b in range(32) if b not in b"\t\n\r\f\x1b")


class Bad(NamedTuple):
    """What could not be read: its row (0: the whole file), why and what to do, and its bytes."""

    row: int
    why: str
    raw: bytes


class Unusable(Exception):  # noqa: N818
    """Nothing of the file can be read; the message says why, and what to do."""


class BreaksOff(Exception):  # noqa: N818
    """The stream ends here before its time."""


class Stream:
    """Bytes in blocks, to be iterated once. `head` is a look at the first of them."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self.broken = ""
        self.tail = b""  # of a stream that broke off: the line that it broke off in
        first: list[bytes] = []
        while sum(map(len, first)) < HEAD and (block := self._next()):
            first.append(block)
        self._first = b"".join(first)

    @property
    def head(self) -> bytes:
        """The first 64 KiB; call it before the blocks are read."""
        return self._first[:HEAD]

    def __iter__(self) -> Iterator[bytes]:
        first, self._first = self._first, b""
        if first:
            yield first
        while block := self._next():
            yield block

    def _next(self) -> bytes:
        if self.broken:
            return b""
        try:
            return next(filter(None, self._blocks), b"")
        except BreaksOff as error:
            self.broken = str(error)
        except OSError as error:
            self.broken = f"the file cannot be read any further ({error.strerror or error}): check the disk"
        return b""


def open_file(path: Path) -> BufferedReader:
    """Open a regular file for reading; anything else raises `Unusable` at once, a pipe too."""
    try:
        kind = _kind(os.stat(path).st_mode)
        if not kind:
            # The file can have become a pipe since: without O_NONBLOCK its opening would wait for a writer.
            flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            file = os.fdopen(os.open(path, flags), "rb")
            kind = _kind(os.fstat(file.fileno()).st_mode)
            if not kind:
                return file
            file.close()
    except FileNotFoundError:
        what = "a link to a file that is not there" if path.is_symlink() else "the file is not there any more"
        raise Unusable(f"{what}: put it back or take it out of the recipe") from None
    except PermissionError:
        raise Unusable("permission denied: make the file readable for this user") from None
    except (OSError, ValueError) as error:
        raise Unusable(f"the file cannot be opened ({getattr(error, 'strerror', None) or error})") from None
    raise Unusable(f"{kind}, not a file: skipped")


def unpacked(file: BinaryIO) -> Stream:
    """The bytes of a file, unpacked if they are gzip or zstd by their first bytes, whatever the file is called."""
    stream = Stream(_plain(file))
    packed = _unpacker(stream.head)
    if packed:
        file.seek(0)
        stream = Stream(packed(file))
        if _unpacker(stream.head):
            raise Unusable("compressed twice: unpack it once")
    if not stream.head:
        raise Unusable(stream.broken or "empty file: nothing to read")
    return stream


def as_utf8(stream: Stream) -> Stream:
    """Text as UTF-8 without a byte order mark; raises `Unusable` for what is no text."""
    head = stream.head
    name = next((name for magic, name in _ARCHIVES.items() if head.startswith(magic)), "")
    if name:
        raise Unusable(f"a {name} archive: unpack it first (gzip and zstd are read as they are)")
    if head.startswith(LFS) or b"/annex/objects/" in head[:200]:
        raise Unusable("a pointer of git LFS or git-annex, not the data: run `git lfs pull` (or `git annex get`)")
    if head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        raise Unusable("a web page, not data: download the file itself again")
    bom, encoding = next(((bom, name) for bom, name in _BOMS if head.startswith(bom)), (b"", _utf16(head)))
    if encoding == "utf-8":
        return Stream(_without(stream, bom))
    if not encoding and _binary(head):
        raise Unusable("binary, not text: give json, jsonl, parquet, csv or tsv")
    if not encoding:
        return stream
    return Stream(_transcoded(_without(stream, bom), encoding))


def _kind(mode: int) -> str:
    for test, name in (
        (stat.S_ISREG, ""),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if test(mode):
            return name
    return "a device"


def _unpacker(head: bytes) -> Callable[[BinaryIO], Iterator[bytes]] | None:
    if head.startswith(_GZIP):
        return _gunzip
    return _unzstd if head.startswith(_ZSTD) or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5) else None


def _plain(file: BinaryIO) -> Iterator[bytes]:
    yield file.read(HEAD)  # a short first block: the head of a large file is cheap
    while block := file.read(BLOCK):
        yield block


def _gunzip(file: BinaryIO) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=file, mode="rb") as archive:
        try:
            while block := archive.read1(BLOCK):
                yield block
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise BreaksOff(f"the gzip archive is damaged or cut off ({error}): get it again") from None


def _unzstd(file: BinaryIO) -> Iterator[bytes]:
    frame, data = None, b""
    try:
        while data := data or file.read(_PACKED_BLOCK):
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            if block := frame.decompress(data):
                yield block
            data = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
    except zstandard.ZstdError as error:
        raise BreaksOff(f"the zstd archive is damaged ({error}): get it again") from None
    if frame is not None:
        raise BreaksOff("the zstd archive is cut off: get it again")


def _utf16(head: bytes) -> str:
    """UTF-16 without a mark: every other byte of its first characters is NUL."""
    odd, even = head[1:64:2], head[0:64:2]
    if len(odd) >= 2 and odd.count(0) > len(odd) * 0.8 and not even.count(0):
        return "utf-16-le"
    return "utf-16-be" if len(odd) >= 2 and even.count(0) > len(even) * 0.8 and not odd.count(0) else ""


def _binary(head: bytes) -> bool:
    controls = len(head) - len(head.translate(None, _CONTROLS))
    try:
        text = b"\0" not in head and bool(head.decode())
    except UnicodeDecodeError:
        text = False
    return not text and controls > len(head) / 10


def _without(stream: Stream, bom: bytes) -> Iterator[bytes]:
    for number, block in enumerate(stream):
        yield block if number else block[len(bom) :]
    if stream.broken:
        raise BreaksOff(stream.broken)


def _transcoded(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    # "surrogatepass" keeps a lone surrogate for the cleaning, which counts it.
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    try:
        for block in blocks:
            yield decoder.decode(block).encode("utf-8", "surrogatepass")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise BreaksOff(f"not {encoding.upper()} ({error.reason}): save the file as UTF-8") from None
