"""Which benchmarks to compare rows with: a choice in words to items, through the benchmark plugins alone.

A choice is "" (the embedded samples), a folder in the layout of `--benchmarks DIR` (one folder a benchmark, named as
its plugin), one benchmark's folder (if it is named as a plugin), a JSON Lines file of items, or a list of names and
NAME=PATH, separated by commas: a name alone means the hub.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, Protocol

from caravan.converters.schema import to_json
from caravan.errors import UserError, did_you_mean
from caravan.plugins import find, load

ANY = "jsonl"  # the plugin for items in JSON Lines, under whatever name


class Item(Protocol):
    """What contamination reads of a benchmark's item; see the contract in `eval/benchmark.py`."""

    @property
    def id(self) -> str:
        """Unique in its benchmark."""

    @property
    def question(self) -> str:
        """The text that identifies the item."""

    @property
    def answer(self) -> str:
        """The gold answer."""

    @property
    def group(self) -> str:
        """Subject, task or language."""

    @property
    def choices(self) -> tuple[str, ...]:
        """The options in order."""

    @property
    def passage(self) -> str:
        """A text that several items may share."""


@dataclass(frozen=True)
class Loaded:
    """One benchmark's items. `name` is the plugin's, or the user's own for JSON Lines; `embedded`: our sample."""

    name: str
    plugin: str
    version: int
    items: tuple[Item, ...]
    embedded: bool


class _Place(NamedTuple):
    """Where a benchmark's files lie; `path` None: on the hub."""

    name: str
    plugin: str
    path: Path | None
    embedded: bool = False


@lru_cache(maxsize=8)
def load_items(choice: str) -> tuple[Loaded, ...]:
    """The items of every benchmark of a choice, sorted by name. Read once in a process.

    `UserError` when a file is missing or broken, a name is unknown or doubled, or nothing is left to compare with.
    """
    loaded = []
    for place in _places(choice)[0]:
        module = load("benchmarks", place.plugin)
        items = tuple(module.items(place.path or _from_hub(place.plugin, module.HUB)))
        if not items:
            raise UserError(f"benchmark {place.name} has no items", where=str(place.path), fix="check its files")
        loaded.append(Loaded(place.name, place.plugin, module.VERSION, items, place.embedded))
    return tuple(loaded)


def notes(choice: str) -> list[str]:
    """Sentences for people about a choice: that samples stand in for benchmarks, and what in a folder is ignored."""
    return _places(choice)[1]


@lru_cache(maxsize=8)
def fingerprint(choice: str) -> dict[str, str]:
    """For each benchmark the plugin, its version, and a hash over all of every item: part of cache keys."""
    prints = {}
    for one in load_items(choice):
        h = blake2b(digest_size=16)
        for i in one.items:
            h.update(to_json([i.id, i.question, i.answer, i.group, list(i.choices), i.passage]).encode())
            h.update(b"\n")
        prints[one.name] = f"{one.plugin} {one.version} {h.hexdigest()}"
    return prints


def _places(choice: str) -> tuple[list[_Place], list[str]]:
    if not choice.strip():
        places = [_Place(n, n, p, embedded=True) for n, p in _samples()]
        return places, [
            "no benchmarks were named: rows are compared with the embedded samples "
            f"({', '.join(p.name for p in places)}), a few items each, not with the benchmarks themselves"
        ]
    path = Path(choice).expanduser()
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return [_file(_stem(path), path)], []
    return _listed(choice), []


def _samples() -> Iterable[tuple[str, Path]]:
    """The sample that ships beside the folder of a plugin's module, where there is one."""
    for name in find("benchmarks"):
        module = load("benchmarks", name)
        if module.__file__ and (sample := Path(module.__file__).parents[1] / "samples" / name).is_dir():
            yield name, sample


def _folder(path: Path) -> tuple[list[_Place], list[str]]:
    known = find("benchmarks")
    if (own := path.resolve().name) in known:
        return [_Place(own, own, path)], []
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    places = [_Place(p.name, p.name, p) for p in folders if p.name in known]
    if not places:
        raise UserError(
            "no benchmark in this folder",
            where=str(path),
            fix=f"put each benchmark's files into a folder of its name: {', '.join(known)}",
        )
    ignored = [p.name for p in folders if p.name not in known]
    return places, [f"{path}: no benchmark of this name, ignored: {', '.join(ignored)}"] if ignored else []


def _listed(choice: str) -> list[_Place]:
    known, places = find("benchmarks"), dict[str, _Place]()
    for part in filter(None, map(str.strip, choice.split(","))):
        name, given, place = part.partition("=")
        if given:
            path = Path(place).expanduser()
            if not path.exists():
                raise UserError("no such file or folder", where=place, fix="correct the path after NAME=")
            one = _file(name, path) if path.is_file() else _Place(name, name if name in known else ANY, path)
        elif name in known:
            one = _Place(name, name, None)
        else:
            raise UserError(f"{name!r} is neither a folder, nor a file, nor a benchmark", fix=did_you_mean(name, known))
        if not one.name or one.name in places:
            raise UserError(f"benchmark {one.name!r} is named twice" if one.name else "no name before =", fix=_FORM)
        places[one.name] = one
    if not places:
        raise UserError(f"{choice!r} names no benchmark", fix=_FORM)
    return sorted(places.values())


_FORM = "give each benchmark once, as NAME or NAME=PATH, separated by commas"


def _file(name: str, path: Path) -> _Place:
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise UserError("not a folder of benchmarks and not JSON Lines", where=str(path), fix="name a .jsonl file")
    return _Place(name, ANY, path)


def _stem(path: Path) -> str:
    return path.name.split(".jsonl")[0]


def _from_hub(plugin: str, repository: str | None) -> Path:
    if repository is None:
        raise UserError(f"benchmark {plugin} is not on the hub", fix=f"give its files: {plugin}=PATH")
    from caravan.curate.hub import download

    return download(repository)
