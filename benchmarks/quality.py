"""The tables of docs/filters/quality.md: the score against people's labels, length beside it on the same pairs.

    python benchmarks/quality.py --data FOLDER [--write] [--most N]
        [--likelihood FOLDER] [--embedding] [--classifier FILE]     # parts that need a model, each a column
    python benchmarks/quality.py --data FOLDER --show 50            # wrong pairs of people's sets, to read

A pair is right where the better answer has the higher score; a tie counts half. `--most` takes the first N pairs of
each set: a language model takes about a second of CPU for a pair.
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
from tables import into, markdown, share, written_with

from caravan.curate.filters import quality

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Scores = tuple[pl.DataFrame, pl.DataFrame]

NEAR = 1.25  # lengths differ by a quarter of the shorter at most
ROWS = 2048  # in one call of the filter, as the main job has them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help="into docs/filters/quality.md")
    parser.add_argument("--most", type=int, help="pairs of a set")
    parser.add_argument("--show", type=int, help="print so many wrong pairs of each set of people's, and no table")
    parser.add_argument("--likelihood", metavar="FOLDER", help="a language model")
    parser.add_argument("--embedding", action="store_true", help="with the model that the part takes by itself")
    parser.add_argument("--classifier", metavar="FILE", help="fitted by curate train-quality")
    given = parser.parse_args()
    sets = {name: pairs[: given.most] for name, pairs in judged(given.data).items()}
    if given.show:
        show(sets, given.show)
        return
    models = {
        "likelihood": {"model": given.likelihood} if given.likelihood else None,
        "embedding": {} if given.embedding else None,
        "classifier": {"model": given.classifier} if given.classifier else None,
    }
    columns: dict[str, dict[str, Scores] | None] = {"quality": measured(sets, quality.Settings())}
    for name, settings in models.items():
        known = quality.Settings.model_validate({"parts": {name: settings}}) if settings is not None else None
        columns[f"+ {name}"] = measured(sets, known) if known else None
    with_all = {name: settings for name, settings in models.items() if settings is not None}
    if len(with_all) > 1:
        columns["+ all of these"] = measured(sets, quality.Settings.model_validate({"parts": with_all}))
    parts: dict[str, Callable[[], str]] = {
        "people": lambda: people(sets, columns, judges(given.data), given.most),
        "misled": lambda: misled(sets, columns),
        "parts": lambda: parts_alone(sets, columns["quality"] or {}),
        "kept": lambda: kept(given.data),
    }
    for mark, work in parts.items():
        text = work()
        print(text, end="\n\n")
        if given.write:
            into("filters/quality.md", mark, f"{text}\n\n{written_with('polars', 'numba')}.")


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


def cells(pairs: list[Pair], name: str, columns: dict[str, dict[str, Scores] | None], chosen: Flags) -> list[str]:
    """Pairs, how many of them length gets right, and how many each of the columns."""
    found = [share(float(right(*lengths(pairs))[chosen].sum()), int(chosen.sum()))]
    for column in columns.values():
        if column is None:
            found.append("-")
            continue
        values = right(*(side["quality"].to_numpy() for side in column[name]))
        found.append(share(float(values[chosen].sum()), int(chosen.sum())))
    return [str(int(chosen.sum())), *found]


def people(
    sets: dict[str, list[Pair]],
    columns: dict[str, dict[str, Scores] | None],
    published: dict[str, float],
    most: int | None,
) -> str:
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
        lines += [[f"{name}{cut}", *cells(pairs, name, columns, chosen)] for cut, chosen in cuts.items()]
    table = markdown(["pairs of", "pairs", "longer wins", *columns], lines)
    if most:
        return table
    ceiling = ", ".join(f"{name} {share(hits, len(sets['pandalm']))}" for name, hits in published.items())
    return f"{table}\n\nPublished judges on the same pairs of pandalm: {ceiling}."


def misled(sets: dict[str, list[Pair]], columns: dict[str, dict[str, Scores] | None]) -> str:
    """Sets that are made: answers to other prompts."""
    lines = []
    for name in (*(f"swapped_{n}" for n in SWAPPED), *(f"neighbour_{n}" for n in NEIGHBOURS)):
        told = f"{name} (not looked at before)" if name in FRESH else name
        lines.append([told, *cells(sets[name], name, columns, np.ones(len(sets[name]), np.bool_))])
    return markdown(["pairs of", "pairs", "longer wins", *columns], lines)


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
