"""AlpacaEval: 805 instructions without a right answer; what is judged is which of two outputs is better.

Read from the published `alpaca_eval.json` {instruction, dataset, output, generator}, or from the most complete
`model_outputs.json` of the results, which repeat the instructions. Ids are `DATASET/ROW`, counted from 0 over the
whole list; the group is the source data set. The reference output stands in `Problem.more` ("reference" and
"reference_model") where the files have it: in `alpaca_eval.json`, else in text_davinci_003's `model_outputs.json`.

The model gets the instruction as it is, one turn, nothing before the answer, greedily, at most 2,048 tokens: what the
published scripts of Tulu 1 allow (Tulu 2's allow 8,192). All three protocols ask alike, so one set of outputs serves
all. The score is the mean of a judge's preference for the model over the reference (`Answer.judged`, 0 to 1; a draw
is 0.5). `discrete_win_rate` rounds each preference to a win, a draw or a loss first.

| protocol | an empty output | a verdict that cannot be read |
|---|---|---|
| `tulu`, `original` | counts as the judge has it | is no part of the score, as published |
| `strict` | a class of its own, no part of the score | counted as unjudged; the score's bounds say what it could hide |

`evaluate score` reads the published `annotations.json` and `model_outputs.json`; `published` gives the row of the
leaderboard in its own units, by every protocol.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from caravan.errors import UserError
from caravan.eval.benchmark import Answer, Ask, Item, Outputs, Problem, Scored, Setting, Verdict
from caravan.eval.files import Row, locate, rows, text
from caravan.eval.scoring.alpaca_results import read_results

VERSION = 1
HUB = "tatsu-lab/alpaca_eval"
LICENCE = "CC-BY-NC-4.0"
VARIANTS = ("generation",)
METRICS = ("win_rate", "discrete_win_rate")
AVERAGE: Literal["micro", "macro"] = "micro"
JUDGED_BY = "pairs"

NEW_TOKENS = 2048
REFERENCE = "text_davinci_003"
EVEN = 0.5


def items(folder: Path) -> Iterator[Item]:
    """The instructions in the published order."""
    for number, (where, row) in enumerate(_rows(folder)):
        dataset = row.get("dataset")
        group = dataset if isinstance(dataset, str) else ""
        yield Item(f"{group}/{number}" if group else str(number), text(row, "instruction", where), group=group)


def problems(folder: Path, variant: str) -> Iterator[Problem]:
    """The instructions, each with the reference output and the name of its model, where the files have them."""
    references = _references(folder)
    for item in items(folder):
        yield Problem(item, more=references.get(item.question, {}))


def ask(problem: Problem, setting: Setting) -> Ask:
    """The instruction and nothing else."""
    return Ask(problem.item.question, new_tokens=NEW_TOKENS)


def score(problem: Problem, answers: Sequence[Answer], setting: Setting) -> Verdict:
    """The judge's preference. Beside the metrics stand lengths in characters: `length`, `reference_length`.

    An error class has lengths and, where an empty output was judged all the same, that value `as_published`.
    """
    (answer,) = answers
    if answer.ended == "failed":
        return Verdict("failed", rule="no answer came")
    values = {"length": float(len(answer.text))}
    reference = problem.more.get("reference")
    if isinstance(reference, str):
        values["reference_length"] = float(len(reference))
    preference = answer.judged
    if setting.protocol == "strict" and not answer.text.strip():
        judged = {} if preference is None else {"as_published": preference}
        return Verdict("empty", values | judged, rule="an empty output")
    if preference is None:
        return Verdict("unjudged", values, rule="no verdict, or none that can be read")
    winner = "draw" if preference == EVEN else "model" if preference > EVEN else "reference"
    values |= {"win_rate": preference, "discrete_win_rate": _discrete(preference)}
    return Verdict("scored", values, winner, "the judge's preference")


def stored(path: Path, problems: Callable[[], Sequence[Problem]] | None) -> Outputs | None:
    """Published `annotations.json` and `model_outputs.json`, and folders that hold them. See `alpaca_results`."""
    found = read_results(path, None if problems is None else problems())
    return None if found is None else Outputs(found[0], VARIANTS[0], found[1])


def published(scored: Scored) -> dict[str, Any]:
    """The row of the leaderboard: rates and the standard error (n - 1, no strata) in percent, lengths in characters.

    `avg_length` is cut down to whole characters; instructions without an output count as outputs of no length.
    """
    values = [v for v in (_as_published(verdict.values) for _, verdict in scored) if v is not None]
    lengths = [verdict.values["length"] for _, verdict in scored if "length" in verdict.values]
    row: dict[str, Any] = {}
    if values:
        n, mean = len(values), math.fsum(values) / len(values)
        squares = math.fsum((v - mean) ** 2 for v in values)
        row = {
            "win_rate": 100 * mean,
            "standard_error": 100 * math.sqrt(squares / (n - 1) / n) if n > 1 else None,
            "n_wins": sum(v > EVEN for v in values),
            "n_wins_base": sum(v < EVEN for v in values),
            "n_draws": sum(v == EVEN for v in values),
            "n_total": n,
            "discrete_win_rate": 100 * math.fsum(map(_discrete, values)) / n,
        }
    if lengths:
        asked = max((int(problem.more.get("listed", 0)) for problem, _ in scored), default=0)
        row["avg_length"] = int(math.fsum(lengths) / max(asked, len(lengths)))
    return row


def _as_published(values: Mapping[str, float]) -> float | None:
    return values.get("win_rate", values.get("as_published"))


def _discrete(preference: float) -> float:
    return EVEN if preference == EVEN else float(preference > EVEN)


def _references(folder: Path) -> dict[str, dict[str, str]]:
    """The reference output of each instruction, and whose it is."""
    if any(folder.rglob("alpaca_eval.json")):
        found = _rows(folder)
    else:
        paths = sorted(p for p in folder.rglob("model_outputs.json") if p.parent.name == REFERENCE)
        found = list(rows(paths[0])) if paths else []
    return {
        row["instruction"]: {"reference": row["output"], "reference_model": str(row.get("generator") or REFERENCE)}
        for _, row in found
        if isinstance(row.get("instruction"), str) and isinstance(row.get("output"), str)
    }


def _rows(folder: Path) -> list[Row]:
    if any(folder.rglob("alpaca_eval.json")):
        (path, *_) = locate(folder, "alpaca_eval.json")
        return list(rows(path))
    outputs = sorted(folder.rglob("model_outputs.json"))
    if not outputs:
        raise UserError(
            "neither alpaca_eval.json nor a model_outputs.json here",
            where=str(folder),
            fix="put alpaca_eval.json of the hub's tatsu-lab/alpaca_eval into this folder",
        )
    return max((list(rows(path)) for path in outputs), key=len)
