"""Logs of lm-eval: `samples_TASK_DATE.jsonl`, a line for each document and filter, and the results file beside it.

A line names its metrics (`metrics`, in older ones every further key) and has their values under their own names; the
results file has `"METRIC,FILTER": value` for each task, how many documents count (`n-samples`), and what was asked.
Samples may also lie in the results file itself, under `samples`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caravan.errors import UserError
from caravan.eval.comparing.lm_eval_figures import group_figures, task_figures
from caravan.eval.comparing.reading import digest, json_file, json_lines, mapping, number, plain
from caravan.eval.comparing.runs import NO_SCORE, Figure, Row, Run, Table, frame_of, joined

DATE = r"\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}(?:[.-]\d+)?"
SAMPLES = re.compile(rf"samples_(?P<task>.+?)(?:_(?P<date>{DATE}))?\.jsonl?")
DATED = re.compile(rf"(?P<date>{DATE})\.json")
NO_FILTER = "none"
INVALID = "[invalid]"  # what the harness puts in the place of an answer that its filter did not find
NOT_METRICS: tuple[str, ...] = ("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics")
NOT_METRICS += ("doc_hash", "prompt_hash", "target_hash")
Line = Mapping[str, Any]


@dataclass(frozen=True)
class Results:
    """A results file; an empty one where there is none."""

    path: Path
    told: Mapping[str, Any]

    def of(self, key: str, task: str) -> Any:
        """What it says of a task under a key; None where it says nothing."""
        own = mapping(self.told.get(key))
        return own.get(task)

    def task(self, name: str) -> str:
        """The task whose name, made fit for a file, is `name`."""
        known = mapping(self.told.get("results"))
        return name if name in known else next((one for one in known if re.sub(r"\W", "_", one) == name), name)


def read(path: Path) -> Run:
    """The run of a samples file, of a results file with the samples beside or in it, or of a folder of these."""
    if path.is_dir():
        return _folder(path)
    if found := SAMPLES.fullmatch(path.name):
        return _run(path, _results_for(path, found["date"]), [(found["task"], json_lines(path))])
    if path.suffix == ".json":
        value = json_file(path)
        if isinstance(value, dict):
            return _of_results(Results(path, value))
    return _run(path, Results(path, {}), [(path.stem, json_lines(path))])


def _folder(path: Path) -> Run:
    files = sorted(one for one in path.rglob("samples_*.json*") if SAMPLES.fullmatch(one.name) and one.is_file())
    if not files:
        raise UserError("no samples_*.jsonl here", where=str(path), fix="run lm-eval with --log_samples")
    by_results: dict[tuple[Path, str], list[Path]] = {}
    for one in files:
        found = SAMPLES.fullmatch(one.name)
        by_results.setdefault((one.parent, (found and found["date"]) or ""), []).append(one)
    runs = []
    for (_, date), own in by_results.items():
        parts = [(SAMPLES.sub(r"\g<task>", one.name), json_lines(one)) for one in own]
        runs.append(_run(own[0], _results_for(own[0], date), parts))
    return joined(runs, path)


def _of_results(results: Results) -> Run:
    inside = mapping(results.told.get("samples"))
    if inside:
        lines = [(task, _placed(results.path, task, own)) for task, own in inside.items()]
        return _run(results.path, results, lines)
    dated = DATED.search(results.path.name)
    beside = []
    for one in sorted(results.path.parent.glob("samples_*.json*")):
        found = SAMPLES.fullmatch(one.name)
        if found and (found["date"] or "") == (dated["date"] if dated else ""):
            beside.append((found["task"], json_lines(one)))
    if not beside:
        raise UserError(
            "no samples beside this results file", where=str(results.path), fix="run lm-eval with --log_samples"
        )
    return _run(results.path, results, beside)


def _placed(path: Path, task: str, lines: Any) -> Iterator[tuple[str, Any]]:
    return ((f"{path}:{task}:{n}", line) for n, line in enumerate(lines if isinstance(lines, list) else [], 1))


def _results_for(path: Path, date: str | None) -> Results:
    """The results file of the same date in the same folder, else the only one there that has no date."""
    files = [one for one in sorted(path.parent.glob("*.json")) if one.is_file() and not one.name.startswith("samples_")]
    dates = [(found["date"] if (found := DATED.search(one.name)) else "", one) for one in files]
    named = [one for own, one in dates if date and own == date]
    named = named or [one for own, one in dates if not own and "results" in one.name]
    results = [
        Results(one, value) for one in named if isinstance((value := json_file(one)), dict) and "results" in value
    ]
    return results[0] if len(results) == 1 else Results(path, {})


def _run(path: Path, results: Results, parts: Iterable[tuple[str, Iterable[tuple[str, Any]]]]) -> Run:
    told = results.told
    tables: list[Table] = []
    figures: list[Figure] = []
    notes: list[str] = []
    for name, lines in parts:
        task = results.task(name)
        own, said = _tables(task, lines, results)
        tables += own
        notes += [f"{task}: {note}" for note in said]
        figures += task_figures(task, own, told)
    figures += group_figures(tables, told)
    if tables and not told:
        notes.append("no results file of this run: what it publishes is not checked")
    return Run(_model(results, path), "lm-eval", str(path), tables, figures, notes, _families(tables, told))


def _model(results: Results, path: Path) -> str:
    told = results.told
    arguments = mapping(told.get("config")).get("model_args")
    if isinstance(arguments, str):
        arguments = dict(pair.partition("=")[::2] for pair in arguments.split(","))
    named = [told.get("model_name"), *(mapping(arguments).get(key) for key in ("pretrained", "model"))]
    return next((plain(name) for name in named if isinstance(name, str) and name), plain(path.parent.name or path.stem))


def _tables(task: str, lines: Iterable[tuple[str, Any]], results: Results) -> tuple[list[Table], list[str]]:
    """A table for each filter and metric, and what a reader must know."""
    rows: dict[tuple[str, str], list[Row]] = {}
    no_number: dict[str, int] = {}
    for where, line in lines:
        if not isinstance(line, dict) or "doc_id" not in line:
            raise UserError("no object with 'doc_id': not a sample of lm-eval", where=where)
        used = plain(line.get("filter") or NO_FILTER)
        for metric in _metrics(line):
            value = number(line.get(metric))
            no_number[metric] = no_number.get(metric, 0) + (value is None)
            rows.setdefault((used, plain(metric)), []).append(_row(line, value))
    tables, notes, seen = [], [], set()
    for (used, metric), own in rows.items():
        if all(row.score is None for row in own):
            notes.append(f"{metric} is no number for a single item, so it is left out")
            continue
        frame, repeated = frame_of(sorted(own, key=_by_number))
        if repeated:
            notes.append(f"lines that repeat a document and filter ({used}): {repeated:,}; the first counts")
        variant = "" if used == NO_FILTER else used
        lower = mapping(results.of("higher_is_better", task)).get(metric) is False
        tables.append(Table(task, variant, metric, frame, used not in seen, "micro", lower, _about(task, results)))
        seen.add(used)
    return tables, notes


def _metrics(line: Line) -> list[str]:
    named = line.get("metrics")
    if isinstance(named, list):
        return [name for name in named if isinstance(name, str)]
    return [key for key, value in line.items() if key not in NOT_METRICS and number(value) is not None]


def _row(line: Line, value: float | None) -> Row:
    filtered = line.get("filtered_resps")
    answer = filtered[0] if isinstance(filtered, list) and filtered and isinstance(filtered[0], str) else None
    status = NO_SCORE if value is None else "unextractable" if answer == INVALID else "scored"
    arguments = line.get("arguments")
    prompt = line.get("prompt_hash") or (digest(arguments) if arguments else "")
    data = line.get("doc_hash") or (digest(line["doc"]) if line.get("doc") else "")
    return Row(
        plain(line["doc_id"]),
        score=value,
        status=status,
        answer=plain(answer, 60),
        prompt=plain(prompt, 64),
        data=plain(data, 64),
    )


def _by_number(row: Row) -> tuple[int, int, str]:
    return (0, int(row.id), row.id) if row.id.isdecimal() and len(row.id) < 19 else (1, 0, row.id)


def _about(task: str, results: Results) -> dict[str, str]:
    told = results.told
    config = mapping(results.of("configs", task))
    found = {
        "version": results.of("versions", task),
        "shots": results.of("n-shot", task),
        "chat template": plain(told.get("chat_template_sha") or "none")[:8],
        "system instruction": plain(told.get("system_instruction_sha") or "none")[:8],
        "shots as turns": told.get("fewshot_as_multiturn"),
        "generation": config.get("generation_kwargs"),
    }
    return {name: plain(value, 80) for name, value in found.items() if value is not None} if told else {}


def _families(tables: Sequence[Table], told: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Outermost groups of tasks whose tasks are all here: they make one benchmark, with tasks as its groups."""
    groups = mapping(told.get("group_subtasks"))
    members = {group: [str(one) for one in own] for group, own in groups.items() if own and isinstance(own, list)}
    inner = {one for own in members.values() for one in own}
    here = {table.benchmark for table in tables}
    found = {}
    for group in members:
        leaves = leaves_of(group, members)
        if group not in inner and len(leaves) > 1 and here.issuperset(leaves):
            found[plain(group)] = leaves
    return found


def leaves_of(group: str, members: Mapping[str, Sequence[str]], above: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The tasks of a group, those of groups in it included; a group that holds itself holds nothing more."""
    found: dict[str, None] = {}
    for one in members.get(group, ()):
        if one in members:
            inside = () if one in (*above, group) else leaves_of(one, members, (*above, group))
            found |= dict.fromkeys(inside)
        else:
            found[one] = None
    return tuple(found)
