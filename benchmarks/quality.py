"""The tables of docs/filters/quality.md: the score against people's labels, length beside it on the same pairs.

    python benchmarks/quality.py --data FOLDER [--write]            # the score without a model
    python benchmarks/quality.py --data FOLDER [--write] [--most N] --likelihood FOLDER --embedding --classifier FILE
    python benchmarks/quality.py --data FOLDER --show 50            # wrong pairs of people's sets, to read

A pair is right where the better answer has the higher score; a tie counts half. With parts that need a model (one or
more of the three) N pairs of each set are drawn: a language model takes about two seconds of CPU for a pair.
"""

import argparse
import hashlib
import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from judged import FRESH, MODELS, NEIGHBOURS, PEOPLE, SWAPPED, Pair, frame, judged, judges
from pydantic import JsonValue
from tables import into, markdown, share, written_with

from caravan.curate.filters import quality
from caravan.plugins import load

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Scores = tuple[pl.DataFrame, pl.DataFrame]

SWAPPED_SETS = tuple(f"swapped_{name}" for name in SWAPPED)
NEIGHBOUR_SETS = tuple(f"neighbour_{name}" for name in NEIGHBOURS)
MADE = (*SWAPPED_SETS, *NEIGHBOUR_SETS)
NEAR = 1.25  # lengths differ by a quarter of the shorter at most
ROWS = 2048  # in one call of the filter, as the main job has them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help="into docs/filters/quality.md")
    parser.add_argument("--most", type=int, default=100, help="pairs of a set that models are asked about")
    parser.add_argument("--show", type=int, help="print so many wrong pairs of each set of people's, and no table")
    parser.add_argument("--likelihood", metavar="FOLDER", help="a language model")
    parser.add_argument("--embedding", action="store_true", help="with the model that the part takes by itself")
    parser.add_argument("--classifier", metavar="FILE", help="fitted by curate train-quality")
    given = parser.parse_args()
    sets = judged(given.data)
    models: dict[str, dict[str, JsonValue]] = {}
    if given.likelihood:
        models["likelihood"] = {"model": given.likelihood}
    if given.embedding:
        models["embedding"] = {}
    if given.classifier:
        models["classifier"] = {"model": given.classifier}
    if given.show:
        show(sets, given.show)
        return
    tables: dict[str, Callable[[], str]] = {"models": lambda: with_models(sets, models, given.most)}
    if not models:
        scores = measured(sets, quality.Settings())
        tables = {
            "people": lambda: people(sets, scores, judges(given.data)),
            "misled": lambda: misled(sets, scores),
            "parts": lambda: parts_alone(sets, scores),
            "kept": lambda: kept(given.data),
        }
    packages = ("polars", "numba", *(("torch", "transformers") if models else ()))
    for mark, work in tables.items():
        text = work()
        print(text, end="\n\n")
        if given.write:
            into("filters/quality.md", mark, f"{text}\n\n{written_with(*packages)}.")


def measured(sets: dict[str, list[Pair]], settings: quality.Settings) -> dict[str, Scores]:
    """The filter's columns for the better and the worse answers of each set."""
    return {
        name: (measure(frame(pairs, "better"), settings), measure(frame(pairs, "worse"), settings))
        for name, pairs in sets.items()
    }


def measure(rows: pl.DataFrame, settings: quality.Settings) -> pl.DataFrame:
    """The filter's columns for rows, as the main job asks for them."""
    return pl.concat([quality.measure(rows[at : at + ROWS], settings) for at in range(0, rows.height, ROWS)])


def right(better: Floats, worse: Floats) -> Floats:
    """1 for a pair that is ordered as told, 0 for one that is not, half for a tie."""
    return np.where(better > worse, 1.0, np.where(better == worse, 0.5, 0.0))


def lengths(pairs: list[Pair]) -> tuple[Floats, Floats]:
    """Characters of the better and the worse answers."""
    better, worse = (np.array([len(getattr(p, side)) for p in pairs], np.float64) for side in ("better", "worse"))
    return better, worse


def by_quality(scores: Scores) -> Floats:
    """Which pairs the score gets right."""
    better, worse = (side["quality"].to_numpy() for side in scores)
    return right(better, worse)


def cells(pairs: list[Pair], columns: list[Floats], chosen: Flags) -> list[str]:
    """Pairs, how many of them length gets right, and how many each of the columns."""
    found = [share(float(values[chosen].sum()), int(chosen.sum())) for values in (right(*lengths(pairs)), *columns)]
    return [str(int(chosen.sum())), *found]


def people(sets: dict[str, list[Pair]], scores: dict[str, Scores], published: dict[str, float]) -> str:
    """Sets that people or models judged: all pairs, both halves, lengths within a quarter, the shorter preferred."""
    lines = []
    for name in (*PEOPLE, *MODELS):
        pairs = sets[name]
        better, worse = lengths(pairs)
        half = np.array([first_half(pair.group) for pair in pairs])
        near = np.maximum(better, worse) <= NEAR * np.minimum(better, worse)
        cuts = {
            "": np.ones(len(pairs), np.bool_),
            ", lengths within 25%": near,
            ", the shorter preferred": better < worse,
        }
        if name in PEOPLE:
            cuts |= {", one half of the prompts": half, ", the other half": ~half}
        found = [by_quality(scores[name])]
        lines += [[f"{name}{cut}", *cells(pairs, found, chosen)] for cut, chosen in cuts.items()]
    table = markdown(["pairs of", "pairs", "longer wins", "quality"], lines)
    ceiling = ", ".join(f"{name} {share(hits, len(sets['pandalm']))}" for name, hits in published.items())
    return f"{table}\n\nPublished judges on the same pairs of pandalm: {ceiling}."


def misled(sets: dict[str, list[Pair]], scores: dict[str, Scores]) -> str:
    """Sets that are made: answers to other prompts."""
    lines = []
    for name in MADE:
        told = f"{name} (not looked at before)" if name in FRESH else name
        lines.append([told, *cells(sets[name], [by_quality(scores[name])], np.ones(len(sets[name]), np.bool_))])
    return markdown(["pairs of", "pairs", "longer wins", "quality"], lines)


def with_models(sets: dict[str, list[Pair]], models: dict[str, dict[str, JsonValue]], most: int) -> str:
    """The score without and with the parts that need a model, on pairs drawn from each set, and pooled."""
    drawn = {n: random.Random(11).sample(sets[n], min(most, len(sets[n]))) for n in (*PEOPLE, *MADE)}
    plain = measured(drawn, quality.Settings())
    begun = time.process_time()
    full = measured(drawn, quality.Settings.model_validate({"parts": models}))
    spent = (time.process_time() - begun) / (2 * sum(map(len, drawn.values())))
    columns: dict[str, dict[str, Scores]] = {"quality": plain}
    for name in models:
        if load("quality_parts", name).KIND == "gate":  # it multiplies the score: no need to measure it again
            columns[f"+ {name}"] = {n: gated(plain[n], full[n], name) for n in drawn}
        else:
            columns[f"+ {name}"] = measured(drawn, quality.Settings.model_validate({"parts": {name: models[name]}}))
    if len(models) > 1:
        columns["+ all of these"] = full
    pooled = {"people's, pooled": PEOPLE, "swapped, pooled": SWAPPED_SETS, "neighbours, pooled": NEIGHBOUR_SETS}
    lines = []
    for told, names in {**{n: (n,) for n in drawn}, **pooled}.items():
        pairs = [pair for n in names for pair in drawn[n]]
        found = [np.concatenate([by_quality(column[n]) for n in names]) for column in columns.values()]
        lines.append([told, *cells(pairs, found, np.ones(len(pairs), np.bool_))])
    table = markdown(["pairs of", "pairs", "longer wins", *columns], lines)
    return f"{table}\n\nAll of these parts together took {spent:.2f} CPU seconds a row."


def gated(plain: Scores, full: Scores, part: str) -> Scores:
    """The score without models times one gate of theirs."""
    better, worse = (
        pl.DataFrame({"quality": without["quality"] * said[f"quality_{part}"]})
        for without, said in zip(plain, full, strict=True)
    )
    return better, worse


def parts_alone(sets: dict[str, list[Pair]], scores: dict[str, Scores]) -> str:
    """What each part says by itself, of pairs without an empty answer: ordered as told, and the other way round."""
    shown = (*PEOPLE, "swapped_alpaca", "swapped_alpaca_zh", "neighbour_alpaca", "neighbour_dolly")
    lines = []
    for column in (
        name for name in quality.COLUMNS if name != "quality" and not scores["pandalm"][0][name].null_count()
    ):
        line = [column.removeprefix("quality_")]
        for name in shown:
            said = np.logical_and(*((side["quality_complete"] > 0).to_numpy() for side in scores[name]))
            values = right(*(side[column].to_numpy()[said] for side in scores[name]))
            line.append(f"{int((values == 1).sum())} : {int((values == 0).sum())}")
        lines.append(line)
    return markdown(["right : wrong", *(f"{name} ({len(sets[name])})" for name in shown)], lines)


def kept(data: Path) -> str:
    """What the default limit does to answers that people wrote, and to a model's; and what all of it costs."""
    minimum = quality.Limits().minimum
    files = {
        "dolly, written by people": data / "dolly/alpagasus_dolly_3k.json",
        "alpaca, a model's": data / "alpaca/alpagasus_random_9k.json",
        "alpaca_zh, a model's": data / "lang/alpaca/alpaca_zh_demo.json",
    }
    lines = []
    for name, path in files.items():
        rows = json.loads(path.read_text(encoding="utf-8"))
        made = frame([Pair("", f"{r['instruction']}\n{r['input']}", r["output"], "", "") for r in rows], "better")
        quality.measure(made[:10], quality.Settings())
        begun = time.process_time()
        found = measure(made, quality.Settings())
        a_second = len(rows) / (time.process_time() - begun)
        low = int((found["quality"] < minimum).sum())
        lines.append(
            [
                name,
                len(rows),
                share(low, len(rows)),
                f"{np.median(found['quality'].to_numpy()):.2f}",
                f"{a_second:,.0f}",
            ]
        )
    return markdown(["answers", "rows", f"below {minimum}", "median", "rows a CPU second"], lines)


def first_half(group: str) -> bool:
    """One of two halves of the prompts, or trees, of a set."""
    return hashlib.sha256(group.encode()).digest()[0] % 2 == 0


def show(sets: dict[str, list[Pair]], most: int) -> None:
    """Wrong pairs with what the parts say of them."""
    for name in PEOPLE:
        better, worse = (measure(frame(sets[name], side), quality.Settings()) for side in ("better", "worse"))
        wrong = np.flatnonzero(right(better["quality"].to_numpy(), worse["quality"].to_numpy()) == 0)
        for i in random.Random(7).sample(wrong.tolist(), min(most, wrong.size)):
            pair = sets[name][i]
            print(f"\n== {name} {i}\n{pair.prompt[:400]}")
            for told, text, found in (("better", pair.better, better), ("worse", pair.worse, worse)):
                values = {
                    k.removeprefix("quality_"): v for k, v in found.row(i, named=True).items() if v not in (None, 1)
                }
                print(f"-- {told}, {len(text)}: { ({k: round(v, 2) for k, v in values.items()}) }\n{text[:300]}")


if __name__ == "__main__":
    main()
