"""Which benchmarks are meant, in which variant, and where their files lie.

A choice is a list such as `mmlu,bbh:direct`; without one, all benchmarks that the data folder has. The files lie in
`--data-dir DIR` (one folder a benchmark, named as its plugin; or one benchmark's own folder); without it, benchmarks
that are named come from the hub, and unnamed ones are the embedded samples. `--data-dir samples` says so outright.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import cast

from caravan.errors import UserError, did_you_mean
from caravan.eval.benchmark import SAMPLES, Askable, Problem
from caravan.plugins import find, load

EMBEDDED = "samples"
NEEDED = ("VARIANTS", "METRICS", "problems", "ask", "score")


@dataclass(frozen=True)
class Chosen:
    """A benchmark in one of its variants, with its problems. `label` names the score: `bbh:direct`, or `bbh` alone."""

    name: str
    variant: str
    module: Askable
    folder: Path
    embedded: bool
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The name under which the score is shown."""
        return self.name if self.variant == self.module.VARIANTS[0] else f"{self.name}:{self.variant}"

    @property
    def data_hash(self) -> str:
        """A hash over all that a problem says, in the order of the files."""
        h = blake2b(digest_size=16)
        for problem in self.problems:
            h.update(repr((problem.item, problem.golds, problem.cluster, sorted(problem.more.items()))).encode())
        return h.hexdigest()


def module_of(name: str) -> Askable:
    """The plugin of a benchmark that can be evaluated; `UserError` for any other name."""
    known = [n for n in find("benchmarks") if _can_be_asked(n)]
    if name not in known:
        only = " (rows can be compared with it, but it says nothing of asking and scoring)"
        what = f"no benchmark {name!r}" + (only if name in find("benchmarks") else "")
        raise UserError(what, fix=did_you_mean(name, known))
    return cast(Askable, load("benchmarks", name))


def _can_be_asked(name: str) -> bool:
    module = load("benchmarks", name)
    return all(hasattr(module, attribute) for attribute in NEEDED)


def parse(choice: str) -> list[tuple[str, str]]:
    """Names and variants of a choice such as `mmlu,bbh:direct`, each once, in the order given."""
    found: list[tuple[str, str]] = []
    for part in filter(None, map(str.strip, choice.split(","))):
        name, _, variant = part.partition(":")
        variant = variant_of(name, variant)
        if (name, variant) not in found:
            found.append((name, variant))
    if not found:
        raise UserError("no benchmark is named", fix="write, for example, --benchmarks mmlu,bbh")
    return found


def variant_of(name: str, variant: str | None) -> str:
    """The variant of a benchmark that is meant, the usual one where none is named; `UserError` for an unknown one."""
    variants = module_of(name).VARIANTS
    variant = variant or variants[0]
    if variant not in variants:
        raise UserError(f"{name} has no variant {variant!r}", fix=did_you_mean(variant, list(variants)))
    return variant


def choose(choice: str | None, data_dir: str | None) -> tuple[list[Chosen], list[str]]:
    """The benchmarks of a choice, and sentences for people. `UserError` for what is unknown, missing or broken."""
    notes: list[str] = []
    if choice is not None:
        wanted = parse(choice)
        if data_dir is None:
            notes.append(f"{', '.join(dict.fromkeys(n for n, _ in wanted))}: files from the hub")
    else:
        if data_dir is None:
            data_dir = EMBEDDED
        wanted = list(_in(data_dir, notes))
    if data_dir == EMBEDDED:
        notes.append("the embedded samples stand in for the benchmarks: a few items each, whose scores mean nothing")
    return [load_problems(name, variant, data_dir) for name, variant in wanted], notes


def load_problems(name: str, variant: str, data_dir: str | None) -> Chosen:
    """One benchmark's problems from the data folder, the samples, or (None) the hub."""
    module = module_of(name)
    folder = folder_of(name, data_dir)
    problems = tuple(module.problems(folder, variant))
    if not problems:
        raise UserError(f"{name} has no items", where=str(folder), fix="check its files")
    noted = getattr(module, "notes", None)
    notes = tuple(noted(folder, variant)) if noted is not None else ()
    return Chosen(name, variant, module, folder, data_dir == EMBEDDED, problems, notes)


def folder_of(name: str, data_dir: str | None) -> Path:
    """Where a benchmark's files lie."""
    if data_dir is None:
        repository = module_of(name).HUB
        if repository is None:
            raise UserError(f"{name} is not on the hub", fix="lay out its files and name their folder: --data-dir DIR")
        from caravan.curate.hub import download

        try:
            return download(repository)
        except UserError as error:
            fix = f"{error.fix}, or give its files: --data-dir DIR (--data-dir {EMBEDDED}: a few items that ship here)"
            raise UserError(error.what, where=name, fix=fix) from None
    if data_dir == EMBEDDED:
        module = load("benchmarks", name)
        beside = Path(module.__file__).parents[1] / "samples" / name if module.__file__ else SAMPLES / name
        if not beside.is_dir():
            raise UserError(f"{name} ships no sample", fix="name the folder of its files: --data-dir DIR")
        return beside
    root = Path(data_dir).expanduser()
    if not root.is_dir():
        raise UserError("no such folder", where=data_dir, fix="name a folder with one folder for each benchmark")
    own = root / name
    if not own.is_dir() and root.resolve().name == name:
        return root
    if not own.is_dir():
        raise UserError(f"no folder {name} in it", where=data_dir, fix=f"put the published files of {name} there")
    return own


def _in(data_dir: str, notes: list[str]) -> Iterator[tuple[str, str]]:
    """The benchmarks that the data folder has, each in its usual variant."""
    root = SAMPLES if data_dir == EMBEDDED else Path(data_dir).expanduser()
    names = [n for n in find("benchmarks") if _can_be_asked(n)]
    if root.is_dir() and root.resolve().name in names:
        here: Sequence[str] = [root.resolve().name]
    else:
        here = [n for n in names if (root / n).is_dir()]
    if not here:
        fix = f"put each benchmark's files into a folder of its name: {', '.join(names)}"
        raise UserError("no benchmark in this folder", where=data_dir, fix=fix)
    for name in here:
        module = module_of(name)
        if getattr(module, "RUNS_CODE", False):
            notes.append(f"{name} is left out: it runs what the model writes; name it and add --run-code")
        else:
            yield name, module.VARIANTS[0]


def sample(chosen: Chosen, per_group: int, limit: int) -> list[Problem]:
    """The problems to ask: at most so many of each group, at most so many in all, 0 meaning all.

    Those whose id's hash is lowest within its group, so that an item is in or out whatever other files there are; in
    the order of the files. `limit` is spread evenly over the groups.
    """
    groups: dict[str, list[Problem]] = {}
    for problem in chosen.problems:
        groups.setdefault(problem.item.group, []).append(problem)
    ranked = {name: sorted(members, key=_rank) for name, members in groups.items()}
    if per_group:
        ranked = {name: members[:per_group] for name, members in ranked.items()}
    rounds = [(place, _rank(p), p) for members in ranked.values() for place, p in enumerate(members)]
    rounds.sort(key=lambda one: one[:2])
    kept = {p.item.id for _, _, p in rounds[: limit or None]}
    return [p for p in chosen.problems if p.item.id in kept]


def _rank(problem: Problem) -> str:
    return blake2b(problem.item.id.encode(), digest_size=8).hexdigest()
