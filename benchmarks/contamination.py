"""Leaks planted in real rows, and clean rows: what caravan finds and flags wrongly, beside the rules of others.

    python benchmarks/contamination.py --data FOLDER [--write] [--decon PYTHON] [--part planted|clean|bands]

Planted: items of each benchmark, whole or with words edited, stand in real rows in several ways. An edit replaces a
word by one of another item, leaves it out, puts one in, or is a slip of the pen; numbers stay, because an item with
other numbers is a variant and no leak. Clean: real rows, those set aside that hold an item of five words and more word
for word (found by plain comparison, not by the filter). FOLDER is laid out as real-data; `--write` puts the tables into
docs/filters/contamination.md. The other rules look at caravan's words, so that scripts without spaces count for them
too. decon runs in a Python of its own that has the package `decontaminate` (CPython 3.12 or 3.13, Linux).
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from tables import into, markdown, share, written_with

from caravan.curate import leaks
from caravan.curate.benchmarks import Item, load_items
from caravan.curate.filters import contamination
from caravan.curate.single import convert
from caravan.curate.words import Words, grams, words
from caravan.proportions import wilson

SEED = 19
PLANTED = 300  # items of each benchmark
RATES = (0.0, 0.05, 0.10, 0.20)
ROWS = 12_000  # of each set of clean rows, the first ones
BANDS = ((0.3, 0.5), (0.5, 0.7), (0.7, 0.95), (0.95, 1.01))
SETS = {
    "alpaca": ("alpaca", ["alpaca/alpagasus_random_9k.json", "alpaca/codealpaca_new.json"]),
    "dolly": ("dolly", ["dolly/partition_*.json"]),
    "sharegpt": ("sharegpt", ["sharegpt/v3_records_0_8000.json"]),
    "flan": ("flan", ["flan/cot/*.tsv"]),
    "alpaca, Chinese": ("alpaca", ["alpaca/alpaca_chinese_part_18.json"]),
}
Turns = list[tuple[str, str]]


def read(data: Path) -> dict[str, list[Turns]]:
    """The first rows of each set, in the order of the files."""
    found: dict[str, list[Turns]] = {}
    for name, (converter, patterns) in SETS.items():
        rows = found.setdefault(name, [])
        for path in (path for pattern in patterns for path in sorted(data.glob(pattern))):
            for messages in convert(path, converter=converter).frame["messages"].to_list():
                rows.append([(m["role"], m["content"]) for m in messages])
        del rows[ROWS:]
    return found


# Planting


class Plant(NamedTuple):
    """An item in a row, and how it was put there. `twins`: ids of all items of the benchmark with this question."""

    benchmark: str
    item: Item
    twins: frozenset[str]
    place: str
    row: Turns


def edited(text: str, rate: float, dice: random.Random, other: Sequence[str]) -> str:
    """Each word, on its own, edited with this probability; in text without spaces each four characters are a word."""
    pieces = []
    for piece in text.split(" "):
        for word in [piece] if piece.isascii() or len(piece) < 12 else _fours(piece):
            if not word.strip() or dice.random() >= rate or any(map(str.isdigit, word)):
                pieces.append(word)
                continue
            kind = dice.choice(("replaced", "left out", "put in", "slip"))
            at = dice.randrange(max(1, len(word) - 1))
            slip = dice.choice((word[:at] + word[at + 1 :], word[:at] + word[at : at + 2][::-1] + word[at + 2 :]))
            new = dice.choice(other)
            pieces.append({"replaced": new, "left out": "", "put in": f"{word} {new}", "slip": slip}[kind])
        pieces.append(" ")
    return "".join(pieces[:-1])


def _fours(text: str) -> list[str]:
    return [text[n : n + 4] for n in range(0, len(text), 4)]


PLACES = ("alone", "with its answer", "in a long turn", "in the system turn", "behind an instruction", "options moved")


def plant(data: Path, rate: float, filler: list[Turns]) -> list[Plant]:
    """The same items at every rate, each in one place; items with options in all, without them."""
    dice, made = random.Random(SEED), list[Plant]()
    for loaded in load_items(str(data / "benchmarks")):
        twins: dict[str, set[str]] = {}
        for item in loaded.items:
            twins.setdefault(item.question, set()).add(item.id)
        other = [w for item in dice.sample(loaded.items, min(200, len(loaded.items))) for w in item.question.split()]
        other = [word for word in other if not any(map(str.isdigit, word))]
        for n, item in enumerate(dice.sample(loaded.items, min(PLANTED, len(loaded.items)))):
            place = PLACES[n % (6 if item.choices else 5)]
            text = edited(item.question, rate, random.Random(f"{SEED} {item.id}"), other)
            row = _row(place, text, item, dice.choice(filler), dice)
            made.append(Plant(loaded.name, item, frozenset(twins[item.question]), place, row))
    return made


def _row(place: str, text: str, item: Item, filler: Turns, dice: random.Random) -> Turns:
    said = [content for _, content in filler] + ["", ""]
    if place == "in a long turn":
        return [("user", f"{said[1]}\n\n{text}\n\n{said[0]}"), ("assistant", said[1])]
    if place == "in the system turn":
        return [("system", text), ("user", said[0]), ("assistant", said[1])]
    if place == "behind an instruction":
        return [("user", f"Answer the following question.\n\nQ: {text}\nA:"), ("assistant", said[1])]
    if place == "options moved":
        options = dice.sample(item.choices, len(item.choices))
        text = "\n".join([text, *(f"({'abcdefghij'[n]}) {option}" for n, option in enumerate(options))])
    return [("user", text), ("assistant", item.answer if place == "with its answer" and item.answer else said[1])]


# The rules, each: for each row the items that it holds, as (benchmark, id)

Found = list[set[tuple[str, str]]]


def as_frame(rows: Sequence[Turns]) -> pl.DataFrame:
    """Rows as caravan measures them."""
    schema = {"messages": pl.List(pl.Struct({"role": pl.String, "content": pl.String}))}
    return pl.DataFrame({"messages": [[{"role": r, "content": c} for r, c in row] for row in rows]}, schema=schema)


def caravan(rows: Sequence[Turns], choice: str) -> list[list[dict[str, Any]]]:
    """All matches of each row."""
    setting, frame, found = contamination.Settings(benchmarks=choice), as_frame(rows), list[list[dict[str, Any]]]()
    for start in range(0, frame.height, 2000):
        found += contamination.measure(frame[start : start + 2000], setting)["contamination"].to_list()
    return found


def leaked(matches: Iterable[dict[str, Any]]) -> set[tuple[str, str]]:
    limit = contamination.Limits().coverage
    return {(m["benchmark"], m["item"]) for m in matches if m["kind"] in leaks.LEAKS and m["coverage_item"] >= limit}


class Grams:
    """The n-grams of all items' questions (or of what touches their answers), for rules that ask for shared ones."""

    def __init__(self, choice: str, width: int, *, answers: bool = False) -> None:
        self.names = [(loaded.name, item.id) for loaded in load_items(choice) for item in loaded.items]
        items = [item for loaded in load_items(choice) for item in loaded.items]
        self.width = width
        questions = words([item.question for item in items])
        whole = words([f"{item.question}\n{item.answer}" for item in items]) if answers else questions
        made = grams(whole, width)
        entry = np.repeat(np.arange(len(items)), np.diff(made.offsets))
        word, values = np.arange(len(entry)) - made.offsets[entry], made.values
        if answers:  # n-grams that end in the answer
            keep = word + width > np.diff(questions.offsets)[entry]
            entry, word, values = entry[keep], word[keep], values[keep]
        order = np.argsort(values, kind="stable")
        self.values, self.entry, self.word = values[order], entry[order], word[order]
        self.size = np.diff(questions.offsets)

    def shared(self, rows: Sequence[Turns], least: float = 0.0) -> Found:
        """Items of which a row holds an n-gram; with `least`, more than this share of the words in such n-grams."""
        texts = ["\n".join(content for _, content in row) for row in rows]
        made: Words = grams(words(texts), self.width)
        found: Found = []
        for n in range(len(rows)):
            own = np.unique(made.values[made.offsets[n] : made.offsets[n + 1]])
            low, high = np.searchsorted(self.values, own), np.searchsorted(self.values, own, side="right")
            hits = np.concatenate([np.arange(a, b) for a, b in zip(low, high, strict=True)] or [np.zeros(0, np.int64)])
            places: dict[int, list[int]] = {}
            for entry, word in zip(self.entry[hits].tolist(), self.word[hits].tolist(), strict=True):
                places.setdefault(entry, []).append(word)
            found.append({self.names[e] for e, begins in places.items() if self._covered(e, begins) > least})
        return found

    def _covered(self, entry: int, begins: list[int]) -> float:
        """The share of the question's words that lie in n-grams which begin at these."""
        return len({begin + n for begin in begins for n in range(self.width)}) / max(1, int(self.size[entry]))


def rules(choice: str) -> dict[str, Callable[[Sequence[Turns]], Found]]:
    """Other tools' rules by name."""
    thirteen, eight, twelve = Grams(choice, 13), Grams(choice, 8), Grams(choice, 12, answers=True)
    return {
        "13-gram": thirteen.shared,
        "8-gram": eight.shared,
        "8-grams, over half": lambda rows: eight.shared(rows, 0.5),
        "12-gram, answer": twelve.shared,
    }


def decon(python: str, choice: str, *, answers: bool) -> Callable[[Sequence[Turns]], Found]:
    """The package `decontaminate` in a Python of its own, on the texts of rows, as it is but for `index_answers`."""
    items = [(loaded.name, item) for loaded in load_items(choice) for item in loaded.items]

    def run(rows: Sequence[Turns]) -> Found:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            for name in ("train", "evals", "report"):
                (place / name).mkdir()
            fixed = {"config": "default", "split": "test", "passage": "", "is_correct": True}
            lines = [
                fixed
                | {"eval_key": name, "eval_instance_index": n, "doc_id": n, "fingerprint": f"{n:016x}"}
                | {"question": item.question, "answer": item.answer}
                for n, (name, item) in enumerate(items)
            ]
            _write(place / "evals/items.jsonl", lines)
            _write(place / "train/rows.jsonl", [{"text": "\n".join(c for _, c in row)} for row in rows])
            subprocess.run([python, "-c", _DECON, folder, str(int(answers))], check=True, capture_output=True)
            found: Found = [set() for _ in rows]
            for path in (place / "report").rglob("*.jsonl"):
                for line in path.read_text(encoding="utf-8").splitlines():
                    hit = json.loads(line)
                    name, item = items[int(hit["eval_instance_index"])]
                    found[hit["training_line"]].add((name, item.id))
            return found

    return run


def _write(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


_DECON = """
import sys, decon
folder, answers = sys.argv[1:]
decon.detect(decon.Config(training_dir=folder + "/train", evals_dir=folder + "/evals",
                          report_output_dir=folder + "/report", index_answers=answers == "1"))
"""


# The tables


def planted(data: Path, sets: dict[str, list[Turns]], tools: dict[str, Callable[[Sequence[Turns]], Found]]) -> str:
    choice = str(data / "benchmarks")
    filler = [row for row in sets["dolly"] if len(row) == 2]
    compared = list[list[object]]()
    known = leaks.items(contamination.Settings(benchmarks=choice))
    short = set(known.filter("too_short").select("benchmark", "item").rows())
    of_place: dict[str, list[object]] = {}
    of_benchmark: dict[str, list[object]] = {}
    for rate in RATES:
        plants = plant(data, rate, filler)
        matches = caravan([p.row for p in plants], choice)
        hit = [_named(p, leaked(m)) for p, m in zip(plants, matches, strict=True)]
        seen = [_named(p, ((m["benchmark"], m["item"]) for m in ms)) for p, ms in zip(plants, matches, strict=True)]
        for name, index in _parts(plants, lambda p: p.benchmark):
            untried = sum((name, plants[n].item.id) in short for n in index)
            of_benchmark.setdefault(name, [name, len(index), untried]).extend(
                [
                    share(sum(hit[n] for n in index), len(index)),
                    f"{100 * sum(seen[n] for n in index) / len(index):.1f}%",
                ]
            )
        for name, index in _parts(plants, lambda p: p.place):
            of_place.setdefault(name, [name, len(index)]).append(share(sum(hit[n] for n in index), len(index)))
        cells: list[object] = [f"{rate:.0%}", share(sum(hit), len(plants))]
        for tool in tools.values():
            found = tool([p.row for p in plants])
            cells.append(share(sum(_named(p, f) for p, f in zip(plants, found, strict=True)), len(plants)))
        compared.append(cells)
        print(f"planted at {rate:.0%}", file=sys.stderr, flush=True)
    heads = [f"{rate:.0%}{what}" for rate in RATES for what in ("", ", or suspected")]
    return "\n\n".join(
        [
            f"Share of planted items that are found as leaks, by the share of their words that are edited ({PLANTED} "
            "items of each benchmark, too short ones among them); and of those found or suspected.",
            markdown(["benchmark", "items", "too short", *heads], list(of_benchmark.values())),
            "The same items by where they were put:",
            markdown(["place", "items", *(f"{rate:.0%}" for rate in RATES)], list(of_place.values())),
            "All of them, beside the rules of others:",
            markdown(["edited", "caravan", *tools], compared),
        ]
    )


def _named(plant: Plant, found: Iterable[tuple[str, str]]) -> bool:
    return any(name == plant.benchmark and item in plant.twins for name, item in found)


def _parts(plants: Sequence[Plant], by: Callable[[Plant], str]) -> Iterator[tuple[str, list[int]]]:
    for name in dict.fromkeys(map(by, plants)):
        yield name, [n for n, p in enumerate(plants) if by(p) == name]


def verbatim(rows: Sequence[Turns], choice: str, least: int = 5) -> list[bool]:
    """Whether a row holds a question of `least` words and more, word for word: by plain comparison of words."""
    items = words([item.question for loaded in load_items(choice) for item in loaded.items])
    heads: dict[bytes, list[bytes]] = {}
    for start, stop in zip(items.offsets, items.offsets[1:], strict=False):
        if stop - start >= least:
            heads.setdefault(items.values[start : start + least].tobytes(), []).append(
                items.values[start:stop].tobytes()
            )
    texts = words(["\n".join(content for _, content in row) for row in rows])
    first = np.array([np.frombuffer(head, np.uint64)[0] for head in heads], dtype=np.uint64)
    begins = np.isin(texts.values, first)
    found = []
    for start, stop in zip(texts.offsets, texts.offsets[1:], strict=False):
        own = texts.values[start:stop]
        found.append(
            any(
                own[at : at + len(whole) // 8].tobytes() == whole
                for at in np.flatnonzero(begins[start:stop]).tolist()
                for whole in heads.get(own[at : at + least].tobytes(), ())
            )
        )
    return found


def clean(data: Path, sets: dict[str, list[Turns]], tools: dict[str, Callable[[Sequence[Turns]], Found]]) -> str:
    choice = str(data / "benchmarks")
    lines = list[list[object]]()
    sums = Counter[str]()
    for name, rows in sets.items():
        holds = verbatim(rows, choice)
        rest = [row for row, held in zip(rows, holds, strict=True) if not held]
        matches = caravan(rest, choice)
        flags = {"caravan": sum(bool(leaked(m)) for m in matches)}
        flags["suspected"] = sum(any(m["kind"] == "rewritten" for m in ms) for ms in matches)
        flags["variants"] = sum(any(m["kind"] == "variant" for m in ms) for ms in matches)
        flags |= {tool: sum(map(bool, run(rest))) for tool, run in tools.items()}
        sums.update(flags | {"rows": len(rest), "held": sum(holds)})
        lines.append([name, f"{sum(holds):,}", f"{len(rest):,}", *(flagged(n, len(rest)) for n in flags.values())])
        print(f"clean: {name}", file=sys.stderr, flush=True)
    lines.append(
        ["**all**", f"{sums['held']:,}", f"{sums['rows']:,}", *(flagged(sums[n], sums["rows"]) for n in flags)]
    )
    head = ["rows of", "hold an item word for word", "others", "caravan", "its suspected", "its variants", *tools]
    return f"Share of the other rows that are flagged.\n\n{markdown(head, lines)}"


def flagged(rows: int, of: int) -> str:
    """A small share with its interval."""
    low, high = wilson(rows, of)
    return f"{100 * rows / of:.2f}% [{100 * low:.2f}, {100 * high:.2f}]"


def bands(data: Path, sets: dict[str, list[Turns]]) -> str:
    choice = str(data / "benchmarks")
    filler = [row for row in sets["dolly"] if len(row) == 2]
    right, alike, other = Counter[int](), Counter[int](), Counter[int]()
    for rate in RATES:
        plants = plant(data, rate, filler)
        for p, matches in zip(plants, caravan([p.row for p in plants], choice), strict=True):
            for m in matches:
                band = _band(m)
                if band is None:
                    continue
                if m["benchmark"] == p.benchmark and m["item"] in p.twins:
                    right[band] += 1
                elif m["benchmark"] == p.benchmark:
                    alike[band] += 1
    rest = [row for rows in sets.values() for row in rows]
    held = verbatim(rest, choice)
    for matches in caravan([row for row, h in zip(rest, held, strict=True) if not h], choice):
        other.update(band for band in {_band(m) for m in matches} if band is not None)
    lines = [
        [f"{low:g} to {min(high, 1):g}", right[n], alike[n], share(right[n], right[n] + alike[n]), other[n]]
        for n, (low, high) in enumerate(BANDS)
    ]
    head = ["coverage", "the planted item", "another of its benchmark", "right", "clean rows"]
    return (
        "Matches in the planted rows, at all edit rates, by how much of the item is covered; and rows of the clean "
        f"sets.\n\n{markdown(head, lines)}"
    )


def _band(match: dict[str, Any]) -> int | None:
    if match["kind"] not in leaks.LEAKS:
        return None
    return next((n for n, (low, high) in enumerate(BANDS) if low <= match["coverage_item"] < high), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help="into docs/filters/contamination.md")
    parser.add_argument("--decon", metavar="PYTHON", help="a Python that has the package decontaminate")
    parser.add_argument("--part", choices=["planted", "clean", "bands"], help="one of the three alone")
    given = parser.parse_args()
    sets = read(given.data)
    choice = str(given.data / "benchmarks")
    tools = rules(choice)
    if given.decon:
        tools |= {
            "decon": decon(given.decon, choice, answers=True),
            "decon, no answers": decon(given.decon, choice, answers=False),
        }
    parts: dict[str, Callable[[], str]] = {
        "planted": lambda: planted(given.data, sets, tools),
        "clean": lambda: clean(given.data, sets, tools),
        "bands": lambda: bands(given.data, sets),
    }
    absent = "" if given.decon else ", decon is not installed here"
    for mark, work in parts.items():
        if given.part in (None, mark):
            text = f"{work()}\n\n{written_with('numpy', 'polars')}{absent}, seed {SEED}."
            print(text)
            if given.write:
                into("filters/contamination.md", mark, text)


if __name__ == "__main__":
    main()
