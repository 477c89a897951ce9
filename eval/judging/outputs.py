"""`evaluate judge`: one model's outputs against another's, or against AlpacaEval's reference, by a judge.

Without a second file the outputs are those of AlpacaEval, set against the reference that its data have. Where they are
a run's, the run's items and scores get the judge's verdicts.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from caravan.cache import written_aside
from caravan.errors import UserError
from caravan.eval import scores
from caravan.eval.benchmark import Answer, Rules, Setting, Stored
from caravan.eval.choose import Chosen, load_problems, module_of
from caravan.eval.items import SCHEMA, item_row
from caravan.eval.judging.cost import Prices
from caravan.eval.judging.judge import ANSWER_TOKENS, both_orders, judge, summarise
from caravan.eval.judging.length_adjusted import LengthAdjusted, length_adjusted
from caravan.eval.models.client import Endpoint
from caravan.eval.outputs import read_outputs
from caravan.eval.pairs import Pair, read_pairs, run_model
from caravan.eval.run import ITEMS, SCORES, write_scores
from caravan.eval.statistics import Estimate
from caravan.terminal import Progress

ALPACA_EVAL = "alpaca_eval"


@dataclass(frozen=True)
class Judged:
    """What a judge said of a model against another. `score` is AlpacaEval's, `run` the run that it was written into."""

    folder: Path
    models: tuple[str, str]
    summary: dict[str, Any]
    length: dict[str, Any] | None
    score: dict[str, Any] | None
    run: Path | None
    notes: list[str]

    def as_json(self) -> dict[str, Any]:
        """Everything, as a value of JSON."""
        told = asdict(self)
        return told | {"folder": str(self.folder), "run": None if self.run is None else str(self.run)}


def judge_outputs(
    a: Path,
    b: Path | None,
    endpoint: Endpoint,
    out: Path,
    *,
    data_dir: str | None = None,
    prices: Prices | None = None,
    max_cost: float | None = None,
    answer_tokens: int = ANSWER_TOKENS,
    progress: Progress | None = None,
) -> Judged:
    """Judge pairs of outputs in both orders, or go on where it stopped. See `judge` for folder, costs and errors."""
    progress = progress or Progress(quiet=True)
    stored: list[Stored] = []
    if b is not None:
        joined = read_pairs(a, b, data_dir)
        models, notes, pairs = (joined.a, joined.b), joined.notes, joined.pairs
    else:
        chosen = load_problems(ALPACA_EVAL, module_of(ALPACA_EVAL).VARIANTS[0], data_dir)
        stored, models, notes, pairs = _against_reference(a, chosen, data_dir)
    for note in notes:
        progress.warn(note)
    found = judge(
        pairs,
        endpoint,
        out,
        models=models,
        max_cost=max_cost,
        prices=prices,
        answer_tokens=answer_tokens,
        progress=progress,
    )
    preferences = {name: _mean(verdicts) for name, verdicts in both_orders(found).items()}
    length = _length_adjusted(pairs, preferences)
    told = _score(stored, preferences, length, "strict") if stored else None
    run = a if told is not None and (a / ITEMS).is_file() else None
    if run is not None and told is not None:
        _write_into(run, stored, preferences, length)
    return Judged(out, models, summarise(found), length, told, run, notes)


def _against_reference(
    a: Path, chosen: Chosen, data_dir: str | None
) -> tuple[list[Stored], tuple[str, str], list[str], list[Pair]]:
    """AlpacaEval's outputs with the data's reference; what has no text or no reference is not judged, and said."""
    found = read_outputs(chosen.module, ALPACA_EVAL, a, lambda: chosen.problems, data_dir or str(chosen.folder))
    references = {p.item.id: p.more for p in chosen.problems}
    pairs, names, without, absent = [], set[str](), 0, 0
    for row in found.rows:
        more = references.get(row.problem.item.id, {})
        if not isinstance(more.get("reference"), str):
            without += 1
        elif row.answers[0].ended == "failed":
            absent += 1
        else:
            names.add(str(more.get("reference_model") or "reference"))
            item = row.problem.item
            pairs.append(Pair(item.id, item.question, row.answers[0].text, more["reference"], item.group))
    notes = list(found.notes)
    if without:
        notes.append(f"{without:,} outputs have no reference in the data, and are not judged")
    if absent:
        notes.append(f"{absent:,} outputs never came, and are not judged")
    if blank := sum(not pair.a.strip() for pair in pairs):
        notes.append(
            f"{blank:,} outputs are empty: the win rate counts them as judged, the strict score leaves them out"
        )
    if not pairs:
        fix = "name a second file of outputs, or lay alpaca_eval.json with its outputs into --data-dir"
        raise UserError("nothing to judge against: the data have no reference outputs", where=str(a), fix=fix)
    model = next((row.model for row in found.rows if row.model), "") or run_model(a) or a.stem
    return found.rows, (model, " or ".join(sorted(names))), notes, pairs


def _mean(verdicts: dict[Any, float | None]) -> float | None:
    """The preference over both orders, where both gave a verdict."""
    values = [v for v in verdicts.values() if v is not None]
    return sum(values) / len(values) if len(values) == len(verdicts) else None


def _length_adjusted(pairs: Sequence[Pair], preferences: dict[str, float | None]) -> dict[str, Any] | None:
    """The win rate at equal length, over the pairs that have a preference; None without any."""
    known = [(preferences[p.id], p) for p in sorted(pairs, key=lambda p: p.id)]
    both = [(preference, p) for preference, p in known if preference is not None]
    if not both:
        return None
    groups = [p.group for _, p in both]
    found = length_adjusted(
        [preference for preference, _ in both],
        [len(p.a) for _, p in both],
        [len(p.b) for _, p in both],
        groups if len(set(groups)) > 1 else None,
    )
    return _told(found)


def _told(found: LengthAdjusted) -> dict[str, Any]:
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    return {name: scores.flat(v) if isinstance(v, Estimate) else v for name, v in values.items()}


def _score(
    stored: Sequence[Stored], preferences: dict[str, float | None], length: dict[str, Any] | None, protocol: Rules
) -> dict[str, Any]:
    module = module_of(ALPACA_EVAL)
    setting = Setting(module.VARIANTS[0], protocol)
    verdicts = [(row.problem, module.score(row.problem, _with(row, preferences), setting)) for row in stored]
    told = scores.score(module, verdicts, name=ALPACA_EVAL, variant=setting.variant, protocol=setting.protocol)
    return told | {"length_adjusted": length}


def _with(row: Stored, preferences: dict[str, float | None]) -> list[Answer]:
    return [replace(answer, judged=preferences.get(row.problem.item.id)) for answer in row.answers]


def _write_into(
    run: Path, stored: Sequence[Stored], preferences: dict[str, float | None], length: dict[str, Any] | None
) -> None:
    """Put the verdicts into the run's items and its score; what the run knows of prompts stays."""
    about = json.loads((run / SCORES).read_text(encoding="utf-8"))
    module, rows = module_of(ALPACA_EVAL), pq.read_table(run / ITEMS, schema=SCHEMA).to_pylist()
    by_id = {row.problem.item.id: row for row in stored}
    for number, row in enumerate(rows):
        if row["benchmark"] == ALPACA_EVAL and row["id"] in by_id:
            one = by_id[row["id"]]
            setting, answers = Setting(row["variant"], row["protocol"]), _with(one, preferences)
            verdict = module.score(one.problem, answers, setting)
            rows[number] = row | item_row(ALPACA_EVAL, setting, one.problem, answers, verdict, module.METRICS[0])
    with written_aside(run / ITEMS) as aside:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), aside)
    found = [
        s | _score(stored, preferences, length, s["protocol"]) if s["benchmark"] == ALPACA_EVAL else s
        for s in about.pop("scores")
    ]
    write_scores(run, about, found)
