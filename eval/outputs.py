"""`evaluate score`: outputs that somebody's model gave, scored by every protocol, without a model.

OUTPUTS is what the benchmark's authors publish (its plugin recognises it), a run's folder, or JSON Lines {id, output}:
`output` is a text, or a list of texts where several were drawn. All three protocols read the same outputs; where they
disagree about an item, the item is named with what each read and by which rule.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from caravan.errors import UserError
from caravan.eval import scores
from caravan.eval.benchmark import RULES, Answer, Askable, Outputs, Problem, Rules, Setting, Stored, Verdict
from caravan.eval.choose import Chosen, load_problems, module_of, variant_of
from caravan.eval.files import rows
from caravan.eval.items import SCHEMA
from caravan.eval.run import ITEMS
from caravan.eval.toxicity import toxicity_reader
from caravan.terminal import Progress

ID_KEYS = ("id", "task_id", "key")


@dataclass(frozen=True)
class ScoredOutputs:
    """One model's outputs scored. `told` is the score by the protocol asked for, as `scores.json` has it.

    `by_protocol` has the headline of each, `disagreements` the items about which they differ, `claimed` how many
    verdicts that the file itself carries agree with the score's, of how many.
    """

    model: str
    told: dict[str, Any]
    by_protocol: dict[Rules, Any]
    disagreements: list[dict[str, Any]]
    claimed: tuple[int, int] | None
    missing: list[str]
    notes: list[str]

    def as_json(self) -> dict[str, Any]:
        """Everything, as a value of JSON."""
        agreed = {"same": self.claimed[0], "of": self.claimed[1]} if self.claimed else None
        return self.told | {
            "model": self.model,
            "protocols": self.by_protocol,
            "disagreements": self.disagreements,
            "claimed": agreed,
            "missing": self.missing,
            "notes": self.notes,
        }


def score_outputs(
    benchmark: str,
    outputs: str | Path,
    *,
    variant: str | None = None,
    data_dir: str | None = None,
    protocol: Rules = "strict",
    run_code: bool = False,
    classifier: str | None = None,
    progress: Progress | None = None,
) -> list[ScoredOutputs]:
    """Score stored outputs, each model's that the file holds. See the module.

    `data_dir` as for `evaluate run`; published outputs that carry their own answers need none. Raises `UserError` for
    outputs that cannot be read, that answer no item, or that name an item twice.
    """
    progress = progress or Progress(quiet=True)
    module, usual = module_of(benchmark), variant_of(benchmark, variant)
    if getattr(module, "RUNS_CODE", False) and not run_code:
        raise UserError(f"{benchmark} runs what the model wrote", fix="add --run-code: it is run in a sandbox")
    path = Path(outputs).expanduser()
    if not path.exists():
        raise UserError("no such file or folder", where=str(outputs), fix="name the file of outputs")
    loaded: list[Chosen] = []

    def problems() -> Sequence[Problem]:
        if not loaded:
            loaded.append(load_problems(benchmark, usual, data_dir))
        return loaded[0].problems

    found = read_outputs(module, benchmark, path, problems, data_dir)
    if variant is not None and found.variant not in ("", variant):
        found.notes.append(f"the outputs answer the variant {found.variant}, by which they are scored")
    setting = Setting(found.variant or usual, protocol, run_code=run_code)
    if getattr(module, "JUDGED_BY", "") == "classifier":
        found = replace(found, rows=_classified(found.rows, classifier, progress))
    models: dict[str, list[Stored]] = {}
    for row in found.rows:
        models.setdefault(row.model, []).append(row)
    if not models:
        raise UserError("no outputs in it", where=str(path), fix='write JSON Lines {"id": ..., "output": ...}')
    expected = list(loaded[0].problems) if loaded else []
    return [_one(module, benchmark, model, own, setting, expected, found.notes) for model, own in models.items()]


def _one(
    module: Askable,
    benchmark: str,
    model: str,
    stored: Sequence[Stored],
    setting: Setting,
    expected: Sequence[Problem],
    notes: list[str],
) -> ScoredOutputs:
    verdicts = {
        rules: [module.score(row.problem, row.answers, replace(setting, protocol=rules)) for row in stored]
        for rules in (RULES if not getattr(module, "RUNS_CODE", False) else (setting.protocol,))
    }
    told: dict[str, Any] = {}
    by_protocol: dict[Rules, Any] = {}
    for rules, found in verdicts.items():
        scored = [(row.problem, verdict) for row, verdict in zip(stored, found, strict=True)]
        full = scores.score(module, scored, name=benchmark, variant=setting.variant, protocol=rules)
        by_protocol[rules] = {k: full[k] for k in ("score", "stderr", "low", "high", "n", "failures")}
        if rules == setting.protocol:
            told = full | {"truncated": sum(any(a.ended == "length" for a in row.answers) for row in stored)}
    headline = scores.headline_of(module, setting.variant)
    claims = [
        verdict.values.get(headline) == row.claimed
        for row, verdict in zip(stored, verdicts[setting.protocol], strict=True)
        if row.claimed is not None
    ]
    answered = {row.problem.item.id for row in stored}
    missing = [p.item.id for p in expected if p.item.id not in answered]
    if missing:
        notes = [*notes, f"{len(missing):,} of {len(expected):,} items have no output: they are not in the score"]
    disagreements = [
        _disagreement(row.problem, {rules: found[number] for rules, found in verdicts.items()}, headline)
        for number, row in enumerate(stored)
        if len({_worth(found[number], headline) for found in verdicts.values()}) > 1
    ]
    claimed = (sum(claims), len(claims)) if claims else None
    return ScoredOutputs(model, told, by_protocol, disagreements, claimed, missing, notes)


def _worth(verdict: Verdict, headline: str) -> float | str:
    """What tells verdicts apart: the value, or why there is none."""
    return verdict.values.get(headline, verdict.status)


def _disagreement(problem: Problem, verdicts: dict[Rules, Verdict], headline: str) -> dict[str, Any]:
    return {
        "id": problem.item.id,
        "golds": list(problem.golds),
        **{
            rules: {
                "value": verdict.values.get(headline),
                "status": verdict.status,
                "extracted": verdict.extracted,
                "rule": verdict.rule,
            }
            for rules, verdict in verdicts.items()
        },
        "why": "; ".join(f"{rules} read {verdict.extracted!r} ({verdict.rule})" for rules, verdict in verdicts.items()),
    }


def read_outputs(
    module: Askable, name: str, path: Path, problems: Callable[[], Sequence[Problem]], data_dir: str | None
) -> Outputs:
    """The outputs in a file or folder: published ones, those of a run, or JSON Lines.

    `problems` gives the items, where they are needed. `UserError` for what is none of these.
    """
    stored = getattr(module, "stored", None)
    if stored is not None:
        # Where no data are named, outputs may stand alone; what they cannot tell comes from the hub then.
        for known in (problems,) if data_dir is not None else (None, problems):
            found: Outputs | None = stored(path, known)
            if found is not None:
                return found
    items = path / ITEMS if path.is_dir() else path
    if items.suffix == ".parquet" and items.is_file():
        own = _from_run(name, items, problems())
    elif path.is_dir():
        raise UserError("neither a run nor published outputs", where=str(path), fix="name a file of JSON Lines")
    else:
        own = _from_lines(path, problems())
    for row in own.rows:
        if len(row.answers) > 1 and not _several(module, row.problem, own.variant):
            what = f"{len(row.answers)} outputs for {row.problem.item.id}, where {name} takes one"
            raise UserError(what, where=str(path), fix="keep one of them")
    return own


def _several(module: Askable, problem: Problem, variant: str) -> bool:
    """Whether a benchmark draws several texts for an item, by anybody's rules."""
    settings = (Setting(variant or module.VARIANTS[0], rules) for rules in RULES)
    return any(module.ask(problem, setting).samples > 1 for setting in settings)


def _from_lines(path: Path, problems: Sequence[Problem]) -> Outputs:
    by_id = {p.item.id: p for p in problems}
    found: dict[str, Stored] = {}
    unknown = []
    for where, row in rows(path):
        own_id = next((str(row[k]) for k in ID_KEYS if row.get(k) is not None), None)
        output = row.get("output", row.get("completion"))
        texts = [t for t in (output if isinstance(output, list) else [output]) if isinstance(t, str)]
        if own_id is None or not texts or (isinstance(output, list) and len(texts) != len(output)):
            fix = 'write {"id": ..., "output": "..."}, or a list of texts'
            raise UserError("not an id and an output", where=where, fix=fix)
        if own_id not in by_id:
            unknown.append(own_id)
            continue
        answers = tuple(Answer(t) for t in texts)
        if own_id in found:
            if "output" in row:
                raise UserError(f"a second output for {own_id}", where=where, fix="give a list of texts instead")
            answers = (*found[own_id].answers, *answers)  # {task_id, completion}: one line for each sample
        found[own_id] = Stored(by_id[own_id], answers)
    if unknown and not found:
        example = next(iter(by_id))
        what = f"no output is for an item of the benchmark: {unknown[0]!r} and others"
        raise UserError(what, where=str(path), fix=f"ids are such as {example!r}")
    notes = [f"{len(unknown):,} outputs are for no item, such as {unknown[0]!r}: not scored"] if unknown else []
    return Outputs(list(found.values()), "", notes)


def _from_run(name: str, path: Path, problems: Sequence[Problem]) -> Outputs:
    """The rows of a run; its variant must be the one whose problems these are."""
    try:
        table = pq.read_table(path, schema=SCHEMA).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:  # the last: text that is no UTF-8
        what = f"no items of a run: {str(error).splitlines()[0]}"
        raise UserError(what, where=str(path), fix="name a run's folder, or a file of JSON Lines") from None
    by_id = {p.item.id: p for p in problems}
    kept, variants, seen, unknown = [], set[str](), set[tuple[str, str]](), 0
    for number, row in enumerate(table, 1):
        if row["benchmark"] != name:
            continue
        where = f"{path}:{number}"
        answers = _answers(row, where)
        variants.add(row["variant"])
        problem = by_id.get(row["id"])
        if problem is None:
            unknown += 1
            continue
        if (row["variant"], row["id"]) in seen:
            raise UserError(f"a second row for {row['id']}", where=where, fix="keep one of them")
        seen.add((row["variant"], row["id"]))
        kept.append(Stored(problem, answers))
    if len(variants) > 1:
        raise UserError(f"the run has several variants of {name}", where=str(path), fix="score one run of one variant")
    notes = [f"{unknown:,} rows of the run are no items of these files: not scored"] if unknown else []
    return Outputs(kept, next(iter(variants), ""), notes)


def _answers(row: dict[str, Any], where: str) -> tuple[Answer, ...]:
    """The answers in a row of a run's items; `UserError` where it is of another kind of file."""
    needed = ("variant", "id", "outputs", "logprobs", "ended", "errors", "judged")
    if absent := next((name for name in needed if row[name] is None), None):
        raise UserError(f"{absent!r} is missing: not an item of a run", where=where, fix="write JSON Lines instead")
    texts = row["outputs"] or [""] * len(row["ended"])
    if not texts or {len(texts)} != {len(row[name]) for name in ("ended", "errors", "judged")} or None in texts:
        raise UserError("'outputs', 'ended', 'errors' and 'judged' differ in length", where=where, fix="run it again")
    more = zip(texts, row["ended"], row["errors"], row["judged"], strict=True)
    logprobs, near_tie = tuple(row["logprobs"]), bool(row["near_tie"])
    return tuple(Answer(text, logprobs, ended, error or "", judged, near_tie) for text, ended, error, judged in more)


def _classified(stored: Sequence[Stored], classifier: str | None, progress: Progress) -> list[Stored]:
    """The outputs with what a classifier says of those that nobody judged."""
    asked = [a for row in stored for a in row.answers if a.judged is None]
    reader = toxicity_reader(classifier, progress) if asked else None
    if reader is None:
        return list(stored)
    said = iter(reader([a.text for a in asked]))
    return [
        replace(row, answers=tuple(a if a.judged is not None else replace(a, judged=next(said)) for a in row.answers))
        for row in stored
    ]
