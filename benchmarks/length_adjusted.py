"""The tables of docs/length-adjusted.md: win rates at equal length on AlpacaEval's published results, and coverage.

python benchmarks/length_adjusted.py FOLDER         # holds leaderboards/ and results/, as published
python benchmarks/length_adjusted.py --coverage     # intervals against known truths: minutes
"""

import csv
import sys
from pathlib import Path

import numpy as np

from caravan.eval.judging.length_adjusted import length_adjusted
from caravan.eval.scoring.alpaca_results import read_results
from caravan.eval.statistics import Estimate

BOARDS = {"alpaca_eval_gpt4": "v1", "weighted_alpaca_eval_gpt4_turbo": "v2"}
CASES = ((805, -2.0, 2.0, -0.6), (805, 1.5, 1.7, 0.7), (300, 0.4, 1.5, 0.3), (100, 0.0, 1.0, 0.5))
RUNS = 500


def main() -> None:
    if sys.argv[1:] == ["--coverage"]:
        coverage()
    else:
        published(Path(sys.argv[1]))


def published(folder: Path) -> None:
    print("| model, judge | raw | published LC (its SE) | at equal length | SE | phi | longer wins | other side |")
    print("|---|---|---|---|---|---|---|---|")
    for path in sorted(folder.rglob("annotations.json"), key=lambda p: (p.parent.name, p.parts[-3])):
        model, annotator = path.parts[-3], path.parts[-2]
        if annotator not in BOARDS:
            continue
        with next(folder.rglob(f"{annotator}_leaderboard.csv")).open(encoding="utf-8", newline="") as file:
            row = {line[""]: line for line in csv.DictReader(file)}.get(model, {})
        found = read_results(path, None)
        assert found is not None
        pairs = [
            (r.answers[0].judged, len(r.answers[0].text), len(r.problem.more["reference"]), r.problem.item.group)
            for r in found[0]
            if r.answers[0].judged is not None
        ]
        judged, mine, other, groups = zip(*pairs, strict=True)
        told = length_adjusted(judged, mine, other, groups)
        lc, se = (row.get(name, "") for name in ("length_controlled_winrate", "lc_standard_error"))
        cells = [
            f"{model}, {BOARDS[annotator]}",
            percent(told.raw),
            f"{float(lc):.1f}{f' ({float(se):.2f})' if se else ''}" if lc else "–",
            percent(told.adjusted),
            "–" if told.adjusted is None else f"{100 * told.adjusted.stderr:.1f}",
            "–"
            if told.effect is None
            else f"{told.effect.value:.2f} ({told.effect.low:.2f} to {told.effect.high:.2f})",
            percent(told.longer_wins),
            f"{100 * told.overlap:.1f}%",
        ]
        print("| " + " | ".join(cells) + " |")


def percent(found: Estimate | None) -> str:
    return "refused" if found is None else f"{100 * found.value:.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})"


def coverage() -> None:
    """How often the interval holds the truth: lengths log-normal, verdicts drawn by the model itself."""
    print("| pairs | true rate | true phi | mean estimate | rate covered | phi covered |")
    print("|---|---|---|---|---|---|")
    random = np.random.default_rng(1)
    for n, theta, phi, more in CASES:
        truth, rates, effects = 1 / (1 + np.exp(-theta)), [], []
        for run in range(RUNS):
            other = np.exp(random.normal(6, 1, n))
            mine = other * np.exp(random.normal(more, 0.7, n))
            chance = 1 / (1 + np.exp(-theta - phi * np.tanh(np.log((1 + mine) / (1 + other)))))
            told = length_adjusted((random.random(n) < chance).astype(float), mine, other, resamples=1000, seed=run)
            if told.adjusted is not None and told.effect is not None:
                rates.append(told.adjusted)
                effects.append(told.effect)
        means = f"{100 * np.mean([r.value for r in rates]):.1f}, {np.mean([e.value for e in effects]):.2f}"
        held = [np.mean([e.low <= t <= e.high for e in es]) for t, es in ((truth, rates), (phi, effects))]
        print(f"| {n} | {100 * truth:.1f} | {phi} | {means} | {100 * held[0]:.1f}% | {100 * held[1]:.1f}% |")


if __name__ == "__main__":
    main()
