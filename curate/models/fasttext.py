"""A classifier as fastText has it, fitted here: a mean of word and word-pair vectors, and a softmax over two labels.

After Joulin et al., "Bag of Tricks for Efficient Text Classification" (2016), and the file format of fastText 0.9
(version 12), so that any program that reads such files can use it. The packages that train such models install their
files over those of the one that detects languages; this needs none of them, and the same rows give the same bytes.
"""

import mmap
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from caravan.errors import UserError

Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

LABELS = ("__label__good", "__label__bad")
MAGIC, FORMAT = 793712314, 12
DIMENSIONS = 16
BUCKETS = 1 << 17  # for pairs of words
EPOCHS = 20
RATE = 0.25
SEEN = 2  # times that a word must occur to have a vector of its own
_END = "</s>"  # fastText reads it at the end of a line
_SOFTMAX, _ONE_FOR_ALL, _SUPERVISED = 3, 4, 3
_LONGEST_WORD = 1 << 16  # bytes
_LONGEST_PART = 16  # characters of a part of a word: the program keeps each part of each word in memory
_LARGEST = 1e6  # number in a matrix: products of two must not overflow
_LINE = "\u23ce"
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af\u0e00-\u0e7f"


def folded(texts: pl.Series) -> pl.Series:
    """Texts as the classifier reads them, one line each: words in lower case, with spaces between all there is.

    Whatever is no letter, mark or number stands alone, as do the characters of scripts without spaces, and line breaks
    are a sign; so no text can hold what fastText would take for a label or the end of its line.
    """
    return (
        texts.str.to_lowercase()
        .str.replace_all(r"\r\n?|\n|\u2028|\u2029", f" {_LINE} ")
        .str.replace_all(f"([^\\pL\\pM\\pN\\s]|[{_CJK}])", " $1 ")
        .str.replace_all(r"[\s\p{Cc}]+", " ")
        .str.strip_chars(" ")
    )


@dataclass(frozen=True)
class Classifier:
    """A fitted model: `words` with their counts, most frequent first; `vectors` [words + BUCKETS, DIMENSIONS]."""

    words: list[tuple[str, int]]
    labels: list[tuple[str, int]]
    vectors: Floats32
    weights: Floats32  # [labels, DIMENSIONS]

    def write(self, path: Path) -> None:
        """As a fastText .bin file."""
        ints = (DIMENSIONS, 5, EPOCHS, SEEN, 5, 2, _SOFTMAX, _SUPERVISED, BUCKETS, 0, 0, 100)
        tokens = sum(count for _, count in [*self.words, *self.labels])
        with path.open("wb") as file:
            file.write(struct.pack("<2i12id", MAGIC, FORMAT, *ints, 1e-4))
            sizes = (len(self.words) + len(self.labels), len(self.words), len(self.labels), tokens, -1)
            file.write(struct.pack("<3i2q", *sizes))
            for kind, entries in enumerate((self.words, self.labels)):
                for word, count in entries:
                    file.write(word.encode() + b"\0" + struct.pack("<qb", count, kind))
            for matrix in (self.vectors, self.weights):
                file.write(struct.pack("<?2q", False, *matrix.shape) + matrix.astype("<f4").tobytes())


def fit(lines: Sequence[str], good: Sequence[bool], seed: int = 0) -> Classifier:
    """Fit on folded lines; the smaller side is gone over as often as the larger.

    Stochastic gradient descent in one thread, the rate falling to nought, in an order drawn with `seed`. Only plain
    sums and products of numbers are used: the result does not depend on the machine.
    """
    from caravan.curate.models import fasttext_kernels as kernels

    split = [[*line.split(), _END] for line in lines]
    counts = Counter(word for words in split for word in words)
    vocabulary = sorted(
        ((n, word) for word, n in counts.items() if n >= SEEN or word == _END), key=lambda x: (-x[0], x[1])
    )
    number = {word: i for i, (_, word) in enumerate(vocabulary)}
    hashes = {word: _hash(word) for word in counts}
    rows = [_features(words, number, hashes) for words in split]
    ends = np.cumsum([0, *map(len, rows)])
    label = np.array([0 if one else 1 for one in good], np.int64)
    sides = [np.flatnonzero(label == side) for side in (0, 1)]
    bits = np.random.PCG64(seed)
    order = np.concatenate([_order(sides, bits) for _ in range(EPOCHS)])
    uniform = (bits.random_raw((len(number) + BUCKETS) * DIMENSIONS) >> np.uint64(40)).astype(np.float64) / (1 << 24)
    vectors = ((2 * uniform - 1) / DIMENSIONS).astype(np.float32).reshape(-1, DIMENSIONS)
    weights = np.zeros((2, DIMENSIONS), np.float32)
    kernels.descend(np.concatenate(rows), ends, label, order, RATE, vectors, weights)
    names = sorted(zip(LABELS, (int(side.size) for side in sides), strict=True), key=lambda x: -x[1])
    if names[0][0] != LABELS[0]:  # fastText's own order, most frequent first
        weights = weights[::-1].copy()
    return Classifier([(word, n) for n, word in vocabulary], names, vectors, weights)


def _order(sides: Sequence[Ints], bits: np.random.PCG64) -> Ints:
    """Both sides, the smaller repeated until it is as long as the larger, shuffled."""
    size = max(side.size for side in sides)
    both = np.concatenate([np.resize(side[_shuffled(side.size, bits)], size) for side in sides])
    return both[_shuffled(both.size, bits)]


def _shuffled(n: int, bits: np.random.PCG64) -> Ints:
    # Of numpy's random numbers only the raw bits are promised to stay the same.
    return np.argsort(np.asarray(bits.random_raw(n)), kind="stable")


def _features(words: Sequence[str], number: dict[str, int], hashes: dict[str, int]) -> Ints:
    """The rows of a line's words and pairs of words in the matrix of vectors, as fastText numbers them."""
    own = np.array([number[word] for word in words if word in number], np.int64)
    each = np.array([hashes[word] for word in words], np.uint64)
    pairs = (each[:-1] * np.uint64(116049371) + each[1:]) % np.uint64(BUCKETS)
    return np.concatenate([own, len(number) + pairs.astype(np.int64)])


def _hash(word: str) -> int:
    """FNV-1a of 32 bits as fastText computes it, bytes and result as signed numbers, in 64 bits."""
    value = 2166136261
    for byte in word.encode():
        value = ((value ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619) & 0xFFFFFFFF
    return value if value < 1 << 31 else value | 0xFFFFFFFF00000000


def checked(path: Path) -> list[str]:
    """The labels of a fastText classifier's file, `UserError` unless it is one, whole and in order.

    The program that predicts reads the file in C++ and believes it: so header, dictionary, sizes and numbers are read
    here first. Quantised files (.ftz) are not taken, as their inside cannot be checked in the same way.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _labels(data)
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
    except (struct.error, IndexError):
        what = "is cut off"
    except UnicodeDecodeError:
        what = "a label is not UTF-8"
    except ValueError as error:
        what = str(error)
    fix = "name a .bin file of `curate train-quality`, or of fastText's `supervised`"
    raise UserError(f"no fastText classifier: {what}", where=str(path), fix=fix)


def _labels(data: mmap.mmap) -> list[str]:
    magic, version, *ints, _ = struct.unpack_from("<2i12id", data, 0)
    dimensions, pairs, loss, kind, buckets, longest = ints[0], ints[5], ints[6], ints[7], ints[8], ints[10]
    entries, words, labels, _, pruned = struct.unpack_from("<3i2q", data, 64)
    if magic != MAGIC or version != FORMAT:
        raise ValueError(
            "its first bytes are not those of one" if magic != MAGIC else f"format {version}, not {FORMAT}"
        )
    if kind != _SUPERVISED or loss not in (_SOFTMAX, _ONE_FOR_ALL):
        raise ValueError("holds word vectors, or was not fitted with softmax or one-vs-all")
    if pruned != -1 or not (0 < dimensions <= 4096 and 0 <= pairs <= 100 and 0 <= longest <= _LONGEST_PART):
        raise ValueError("quantised, or its header makes no sense")
    if not (0 <= buckets < 1 << 31 and (buckets or (pairs <= 1 and not longest))):
        raise ValueError("its header makes no sense")
    if words < 0 or labels < 1 or entries != words + labels or entries > len(data) // 10:
        raise ValueError("its dictionary makes no sense")
    at, names = 92, []
    for entry in range(entries):
        end = data.find(b"\0", at, at + _LONGEST_WORD)
        if end < 0 or data[end + 9] != (entry >= words):
            raise ValueError("its dictionary makes no sense")
        if entry >= words:
            names.append(data[at:end].decode())
        at = end + 10
    for rows in (words + buckets, labels):
        quantised, height, width = struct.unpack_from("<?2q", data, at)
        at += 17
        if quantised or (height, width) != (rows, dimensions) or at + 4 * height * width > len(data):
            raise ValueError("a matrix is quantised, or not of the size that the header says")
        if not _usable(data, height * width, at):
            raise ValueError("a matrix holds what is no number, or too large a one")
        at += 4 * height * width
    if at != len(data):
        raise ValueError(f"it has {len(data):,} bytes, not {at:,}")
    return names


def _usable(data: mmap.mmap, count: int, at: int) -> bool:
    """Whether all numbers are some, and small enough to be multiplied."""
    return bool((np.abs(np.frombuffer(data, "<f4", count, at)) <= _LARGEST).all())
