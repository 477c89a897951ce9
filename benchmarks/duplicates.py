"""Duplicates, planted and natural, in real rows: what caravan finds and drops wrongly, beside other tools.

    python benchmarks/duplicates.py --data FOLDER [--write]

Planted: copies of real rows are edited (words replaced, put in or left out, text appended, case and white space
changed), and each pair's exact Jaccard similarity is measured afterwards, by plain Python sets that share no code with
the filter. Natural: all rows of the real files in one heap. FOLDER is laid out as real-data; `--write` puts the tables
into docs/filters/duplicates.md. Peers that are not installed are named as such (`pip install datasketch rensa`).
"""

import argparse
import json
import multiprocessing
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from plain_sets import THRESHOLD, WIDTH, Turns, answers_alike, grams, jaccard, read, repeats, tokens
from tables import into, markdown, share, written_with

FLOOR = 0.7  # the filter's default
SEED = 20
PLANTED = 2000  # rows of each set that get a copy
EDGES = (0.0, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0, 1.01)
KINDS = ("words replaced", "words put in", "words left out", "text appended", "case and white space")
PLANTED_IN = {
    "alpaca": ("alpaca", ["alpaca/alpagasus_random_9k.json"]),
    "dolly": ("dolly", ["dolly/partition_*.json"]),
    "sharegpt": ("sharegpt", ["sharegpt/v3_records_0_8000.json"]),
    "flan": ("flan", ["flan/cot/*.tsv"]),
    "alpaca, Chinese": ("alpaca", ["alpaca/alpaca_chinese_part_18.json"]),
}
NATURAL_IN = {
    "alpaca": ("alpaca", ["alpaca/*.json"]),
    "dolly": ("dolly", ["dolly/*.json"]),
    "sharegpt": ("sharegpt", ["sharegpt/v3_records_0_8000.json", "sharegpt/glaive_toolcall_en_demo.json"]),
    "flan": ("flan", ["flan/cot/*.tsv", "flan/t0_p3/*.jsonl"]),
    "messages": ("messages", ["messages/open_instruct_sft_sample.jsonl"]),
}


# The tools: rows in, for each row whether it repeats an earlier one and which it names (-1: none, -2: not said)


def caravan(batch: pl.DataFrame, index: str) -> list[int]:
    from caravan.curate.filters import duplicates as filter_
    from caravan.curate.links import greedy

    settings = filter_.Settings.model_validate({"index": index})
    limits = filter_.Limits(near=THRESHOLD)
    rows = batch.hstack(filter_.measure(batch, settings))
    links = [(one, limit) for one in filter_.link(rows, settings) if (limit := filter_.limit(one, limits))]
    found = greedy(rows.height, [one for one, _ in links], [limit for _, limit in links], np.arange(rows.height))
    return [int(partner) for partner in found.partner]


def as_frame(rows: list[Turns]) -> pl.DataFrame:
    """Rows as caravan measures them."""
    schema = {"messages": pl.List(pl.Struct({"role": pl.String, "content": pl.String}))}
    messages = [[{"role": role, "content": text} for role, text in turns] for turns in rows]
    return pl.DataFrame({"messages": messages}, schema=schema)


def datasketch(shingles: list[list[bytes]]) -> list[int]:
    from datasketch import MinHash, MinHashLSH

    index, found = MinHashLSH(threshold=THRESHOLD, num_perm=128), list[int]()
    for number, signature in enumerate(MinHash.generator(shingles, num_perm=128)):
        hits = index.query(signature) if shingles[number] else []
        found.append(int(hits[0]) if hits else -1)
        if not hits:
            index.insert(str(number), signature)
    return found


def rensa(shingles: list[list[bytes]]) -> list[int]:
    from rensa import RMinHashDeduplicator  # type: ignore[import-not-found,unused-ignore]

    index = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=128, use_lsh=True)
    kept = index.add_pairs((str(number), one) for number, one in enumerate(shingles))
    return [-1 if keeps else -2 for keeps in kept]


def thirteen(rows: list[Turns]) -> list[int]:
    """The rule of contamination checks: who shares thirteen words in a row with a kept row repeats it."""
    owner: dict[str, int] = {}
    found = list[int]()
    for number, turns in enumerate(rows):
        own = grams(turns, 13)
        hit = next((owner[gram] for gram in sorted(own) if gram in owner), -1)
        found.append(hit)
        if hit < 0:
            owner |= dict.fromkeys(own, number)
    return found


class Run(NamedTuple):
    """What a tool said, and what it took."""

    partner: list[int]
    seconds: float
    mebibytes: float


def _child(tool: str, file: str) -> Run:
    """Runs in a process of its own. Peers are handed ready shingles: making those is not in their time."""
    rows: list[Turns] = [tuple((role, text) for role, text in turns) for turns in json.loads(Path(file).read_text())]
    given: Any = rows
    if tool in PEERS:
        given = [[gram.encode() for gram in sorted(grams(turns, WIDTH))] for turns in rows]
    elif tool.startswith("caravan"):
        given = as_frame(rows)
    run = TOOLS[tool]
    run(given[:20])  # imports, compiled code
    before, start = _memory("VmRSS"), time.process_time()
    partner = run(given)
    seconds = time.process_time() - start
    return Run(partner, seconds, (_memory("VmHWM") - before) / 1024)


def _memory(name: str) -> int:
    """What Linux says of this process, in KiB: `VmRSS`, what it holds (its peak starts anew then), or `VmHWM`."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    if name == "VmRSS":
        Path("/proc/self/clear_refs").write_text("5")
    return int(found[1])


TOOLS: dict[str, Callable[[Any], list[int]]] = {
    "caravan, lsh": lambda batch: caravan(batch, "lsh"),
    "caravan, exact": lambda batch: caravan(batch, "prefix"),
    "datasketch": datasketch,
    "rensa": rensa,
    "13-gram set": thirteen,
}
PEERS = ("datasketch", "rensa")


def run_all(rows: list[Turns]) -> dict[str, Run | None]:
    """Each tool in a process of its own; None for one that is not installed."""
    found: dict[str, Run | None] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        file.write_text(json.dumps(rows))
        for tool in TOOLS:
            if tool in PEERS and find_spec(tool) is None:
                found[tool] = None
                continue
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found[tool] = pool.apply(_child, (tool, str(file)))
            print(f"{tool}: {found[tool].seconds:.1f} CPU s", file=sys.stderr, flush=True)  # type: ignore[union-attr]
    return found


# Planted pairs


class Pair(NamedTuple):
    """A real row and its edited copy, with what is true of them."""

    set: str
    kind: str
    row: Turns
    copy: Turns
    similarity: float
    counts: bool  # similar enough, and the answers alike: what the filter says it drops


_PIECES = re.compile("\\s+|[\u2e80-\u9fff\uf900-\ufaff]|[^\\s\u2e80-\u9fff\uf900-\ufaff]+")


def edited(turns: Turns, kind: str, target: float, draw: random.Random, words: list[str]) -> Turns:
    """A copy at about the similarity `target`: each edit of a word costs the shingles that it lies in."""
    size = sum(len(tokens(text)) for _, text in turns)
    hit = 1 - (1 - (1 - target) / (1 + target)) ** (1 / WIDTH)  # share of words to edit
    out = list[tuple[str, str]]()
    for role, text in turns:
        pieces = _PIECES.findall(text)
        if kind == "case and white space":
            pieces = [draw.choice(" \n\u3000") if p.isspace() else draw.choice([p.upper(), p]) for p in pieces]
        said = [at for at, piece in enumerate(pieces) if not piece.isspace()] if kind in KINDS[:3] else []
        for at in [at for at in said if draw.random() < hit] or said[:1]:
            new = draw.choice(words)
            pieces[at] = {"words replaced": new, "words put in": f"{pieces[at]} {new}", "words left out": ""}[kind]
        out.append((role, "".join(pieces)))
    if kind == "text appended":
        role, text = out[-1]
        out[-1] = (role, " ".join([text, *draw.choices(words, k=1 + round(size * (1 / target - 1)))]))
    return tuple(out)


def plant(sets: dict[str, list[Turns]]) -> list[Pair]:
    """Pairs by set: a seeded sample of rows that are not like each other, each with one copy."""
    from caravan.curate import links, words

    draw = random.Random(SEED)
    found = list[Pair]()
    for name, rows in sets.items():
        some = draw.sample([turns for turns in rows if turns], min(2 * PLANTED, len(rows)))
        sketch = words.shingles(["\n".join(text for _, text in turns) for turns in some], WIDTH)
        near = links.Links("", "", *links.prefix_buckets(sketch, 0.4), sketch)
        label = links.components(len(some), [near], [0.4])
        some = [turns for number, turns in enumerate(some) if label[number] == number][:PLANTED]
        vocabulary = [
            word for turns in some for _, text in turns for word in _PIECES.findall(text)[:40] if word.strip()
        ]
        for number, turns in enumerate(some):
            kind = KINDS[number % len(KINDS)]
            copy = edited(turns, kind, draw.uniform(0.5, 1), draw, vocabulary)
            similarity = jaccard(turns, copy)
            found.append(Pair(name, kind, turns, copy, similarity, repeats(turns, copy)))
    return found


def planted(pairs: list[Pair]) -> str:
    from caravan.curate.links import lsh_labels, lsh_recall, lsh_shape
    from caravan.curate.words import shingles

    shape = lsh_shape(FLOOR)
    labels = [
        lsh_labels(shingles(["\n".join(text for _, text in turns) for turns in of], WIDTH), *shape)
        for of in ([pair.row for pair in pairs], [pair.copy for pair in pairs])
    ]
    proposed = (labels[0] == labels[1]).any(axis=1)
    said = run_all([pair.row for pair in pairs] + [pair.copy for pair in pairs])
    drops = {tool: None if run is None else [p != -1 for p in run.partner[len(pairs) :]] for tool, run in said.items()}

    def line(name: str, some: list[int], *, interval: bool = False) -> list[object]:
        cells: list[object] = [name, len(some)]
        for of in drops.values():
            hits = None if of is None else sum(of[n] for n in some)
            cells.append("-" if hits is None else share(hits, len(some)) if interval else _percent(hits, len(some)))
        return cells

    rows = list[list[object]]()
    for low, high in pairwise(EDGES):
        some = [n for n, p in enumerate(pairs) if low <= p.similarity < high and (p.counts or p.similarity < THRESHOLD)]
        expected = sum(lsh_recall(pairs[n].similarity, *shape) for n in some) / max(len(some), 1)
        name = "1" if low == 1 else f"{low:g} to {high:g}"
        rows.append([*line(name, some), f"{100 * expected:.2f}%", f"{100 * proposed[some].mean():.2f}%"])
    counts = [n for n, p in enumerate(pairs) if p.counts]
    below = [n for n, p in enumerate(pairs) if p.similarity < THRESHOLD]
    unlike = [n for n, p in enumerate(pairs) if p.similarity >= THRESHOLD and not p.counts]
    rows += [
        [*line("**0.8 and above: to be dropped**", counts, interval=True), "", ""],
        [*line("**below 0.8: to be kept**", below, interval=True), "", ""],
        [*line("0.8 and above, other answers: to be kept", unlike, interval=True), "", ""],
    ]
    head = ["exact similarity", "pairs", *said, "lsh proposes: expected", "seen"]
    kinds = [line(kind, [n for n in counts if pairs[n].kind == kind]) for kind in KINDS]
    sets = [line(name, [n for n in counts if pairs[n].set == name]) for name in dict.fromkeys(p.set for p in pairs)]
    wrong = _verified(said, [p.row for p in pairs] + [p.copy for p in pairs])
    return "\n\n".join(
        [
            f"Share of {len(pairs):,} planted copies that each tool drops.",
            markdown(head, rows),
            "The pairs to be dropped, by edit and by set:",
            markdown(["edit or set", "pairs", *said], kinds + sets),
            wrong,
            costs(said, 2 * len(pairs)),
        ]
    )


def _percent(hits: int, of: int) -> str:
    return f"{100 * hits / of:.1f}%" if of else "-"


def _verified(said: dict[str, Run | None], rows: list[Turns]) -> str:
    """Every drop of ours against plain sets."""
    lines = []
    for tool in ("caravan, lsh", "caravan, exact"):
        run = said[tool]
        assert run is not None
        gone = [(n, partner) for n, partner in enumerate(run.partner) if partner >= 0]
        wrong = sum(not repeats(rows[n], rows[p]) for n, p in gone)
        lines.append(f"{tool}: of {len(gone):,} drops plain sets contradict {wrong}.")
    return " ".join(lines)


def costs(said: dict[str, Run | None], rows: int) -> str:
    ours = said["caravan, lsh"]
    assert ours is not None
    lines: list[list[object]] = []
    for tool, run in said.items():
        if run is None:
            lines.append([tool, "not installed", "", "", ""])
            continue
        times = f"{run.seconds / ours.seconds:.1f}"
        lines.append([tool, f"{run.seconds:.1f}", times, f"{1e6 * run.seconds / rows:,.0f}", f"{run.mebibytes:,.0f}"])
    head = ["tool", "CPU seconds", "times ours", "microseconds a row", "peak memory over the rows, MiB"]
    return markdown(head, lines)


# Natural duplicates


def natural(sets: dict[str, list[Turns]]) -> str:
    """All rows in one heap: how many each tool drops, and for how many of these an earlier row is really alike."""
    from caravan.curate import links, words

    rows = [turns for some in sets.values() for turns in some]
    of = [name for name, some in sets.items() for _ in some]
    said = run_all(rows)
    sketch = words.shingles(["\n".join(text for _, text in turns) for turns in rows], WIDTH)
    row, bucket = links.prefix_buckets(sketch, THRESHOLD)
    starts = np.flatnonzero(np.append(True, bucket[1:] != bucket[:-1]))
    members = dict(zip(bucket[starts].tolist(), np.split(row, starts[1:]), strict=True))
    order = np.argsort(row, kind="stable")
    by_row = row[order]

    def candidates(number: int) -> set[int]:
        first, last = np.searchsorted(by_row, [number, number + 1])
        buckets = bucket[order[first:last]].tolist()
        return {int(other) for one in buckets for other in members[one] if other < number}

    known: dict[int, tuple[bool, bool]] = {}

    def true(number: int, partner: int) -> tuple[bool, bool]:
        """Whether an earlier row is alike, and whether one of those has a like answer."""
        if partner >= 0 and repeats(rows[number], rows[partner]):
            return True, True
        if number not in known:
            near = [other for other in sorted(candidates(number)) if jaccard(rows[number], rows[other]) >= THRESHOLD]
            known[number] = bool(near), any(answers_alike(rows[number], rows[other]) for other in near)
        return known[number]

    sizes = ", ".join(f"{name} {len(some):,}" for name, some in sets.items())
    lines: list[list[object]] = []
    for tool, run in said.items():
        if run is None:
            lines.append([tool, "not installed", *[""] * (2 + len(sets))])
            continue
        gone = [(number, partner) for number, partner in enumerate(run.partner) if partner != -1]
        judged = [true(number, partner) for number, partner in gone]
        by_set = Counter(of[number] for number, _ in gone)
        alike, same = sum(one for one, _ in judged), sum(both for _, both in judged)
        lines.append(
            [tool, f"{len(gone):,}", share(alike, len(gone)), share(same, len(gone)), *(by_set[name] for name in sets)]
        )
        print(f"{tool}: judged", file=sys.stderr, flush=True)
    head = ["tool", "drops", "an earlier row is alike", "and answers alike", *(f"{name}" for name in sets)]
    return "\n\n".join(
        [
            f"All {len(rows):,} rows in one heap ({sizes}).",
            markdown(head, lines),
            _verified(said, rows),
            costs(said, len(rows)),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help="into docs/filters/duplicates.md")
    parser.add_argument("--part", choices=["planted", "natural"], help="one of the two alone")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CARAVAN_CACHE"] = cache
        parts: dict[str, Callable[[], str]] = {
            "planted": lambda: planted(plant(read(given.data, PLANTED_IN))),
            "natural": lambda: natural(read(given.data, NATURAL_IN)),
        }
        for mark, work in parts.items():
            if given.part not in (None, mark):
                continue
            text = f"{work()}\n\n{written_with('numpy', 'datasketch', 'rensa')}, seed {SEED}."
            print(text)
            if given.write:
                into("filters/duplicates.md", mark, text)


if __name__ == "__main__":
    main()
