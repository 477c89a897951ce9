"""AlpacaEval's published results: `annotations.json` (judged pairs) and `model_outputs.json` (outputs alone).

They lie as `results/MODEL/ANNOTATOR/annotations.json` and `results/MODEL/model_outputs.json`. A judged row has
instruction, dataset, output_1 and generator_1 (the reference), output_2 and generator_2 (the model), annotator and
preference: 1 the first, 2 the second, 0 or 1.5 a draw, null no judgement, or any number from 1 to 2.

Nothing of a file is dropped: a row that cannot be read, and a preference that is none, stay as rows without a
judgement. Whose outputs a file judges is what its rows say, not its folder's name; where the two differ, or the file
is another's copy, a note says so.
"""

import filecmp
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from caravan.errors import UserError
from caravan.eval.benchmark import Answer, Item, Problem, Stored
from caravan.eval.files import json_value, lines, read_text

JUDGED, ALONE = "annotations.json", "model_outputs.json"
REFERENCES = ("text_davinci_003", "gpt4_1106_preview")  # of AlpacaEval 1 and 2
SOURCES = {"helpful_base", "koala", "oasst", "selfinstruct", "vicuna"}
LISTED = 805
COMPLETE = 0.9  # of the published list: a file with as much of it is meant to be whole
SAME = 1e-6  # a preference is printed with ten digits


@dataclass
class _Pair:
    """A row that can be read: the model's side of it."""

    where: str
    instruction: str
    dataset: str
    model: str
    output: str
    reference: str | None = None
    reference_model: str = ""
    judged: float | None = None


@dataclass
class _File:
    """A file of results and what a reader must know of it."""

    path: Path
    pairs: list[_Pair]
    unreadable: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_results(path: Path, problems: Sequence[Problem] | None) -> tuple[list[Stored], list[str]] | None:
    """The rows of a file or of all files in a folder, and notes; None where it is no such file.

    With `problems` a row answers the one whose instruction it has. Without, a row's id is `DATASET/` and a hash of
    the instruction: files leave rows out, so that a row's number says nothing.
    """
    files = [file for p in _paths(path) if (file := _read(p)) is not None]
    if not files:
        return None
    stored: list[Stored] = []
    notes: list[str] = []
    labels = Counter(model for file in files for model in {pair.model for pair in file.pairs})
    for file in files:
        below = str(file.path.parent.relative_to(path)) if path.is_dir() else ""
        twice = {model for model in labels if labels[model] > 1}
        stored += _stored(file, problems, {model: f"{model} ({below})" for model in twice})
        notes += [f"{below}: {note}" if len(files) > 1 else note for note in file.notes]
    if problems is not None and files and not stored:
        example = next((pair.where for file in files for pair in file.pairs), str(path))
        fix = "name the data folder that the outputs are for, or none"
        raise UserError("no instruction is one of the benchmark's files", where=example, fix=fix)
    return stored, notes + _copies(files)


def _paths(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix in (".json", ".jsonl") else []
    for name in (JUDGED, ALONE):
        found = [p for p in path.rglob(name) if not any(part.startswith(".") for part in p.relative_to(path).parts)]
        if found:
            return sorted(found)
    return []


def _read(path: Path) -> _File | None:
    values = _values(path)
    rows = [value for _, value in values if isinstance(value, dict) and "instruction" in value]
    if any("preference" in row for row in rows):
        return _judged(path, values)
    if any("output" in row for row in rows) and not any("id" in row for row in rows):
        return _alone(path, values)
    return None


def _values(path: Path) -> list[tuple[str, Any]]:
    """The values of a JSON list or of JSON Lines (as which some scripts write a .json), each with FILE:ROW."""
    if read_text(path).lstrip().startswith("["):
        return [(f"{path}:{number}", value) for number, value in enumerate(json_value(path), 1)]
    return [(where, _loaded(line)) for where, line in lines(path)]


def _loaded(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _alone(path: Path, values: list[tuple[str, Any]]) -> _File:
    file = _File(path, [])
    for where, row in values:
        if not isinstance(row, dict) or not isinstance(row.get("instruction"), str):
            file.unreadable.append(where)
            continue
        pair = _Pair(where, _text(row, "instruction"), _text(row, "dataset"), _text(row, "generator"), "")
        file.pairs.append(replace(pair, output=_text(row, "output")))
    _tell(file, [], "outputs that nobody judged: `evaluate judge` asks a judge")
    _unreadable(file)
    return file


def _judged(path: Path, values: list[tuple[str, Any]]) -> _File:
    file = _File(path, [])
    readable = []
    for where, row in values:
        if isinstance(row, dict) and isinstance(row.get("instruction"), str):
            readable.append((where, row))
        else:
            file.unreadable.append(where)
    names = [(_text(row, "generator_1"), _text(row, "generator_2")) for _, row in readable]
    reference = _reference(names, _model_of(path) or "")
    turned, nulls, unknown, checked, wrong = 0, 0, list[tuple[str, Any]](), 0, list[str]()
    for (where, row), (first, second) in zip(readable, names, strict=True):
        judged = preference(row.get("preference"))
        if _is_null(row.get("preference")):
            nulls += 1
        elif judged is None:
            unknown.append((where, row.get("preference")))
        recomputed = from_log_probabilities(row.get("raw_completion"))
        if recomputed is not None and judged is not None:
            checked += 1
            if min(abs(judged - recomputed), abs(judged - 1 + recomputed)) > SAME:
                wrong.append(where)
        mine, other = (1, 2) if second == reference != first else (2, 1)
        if mine == 1:
            turned += 1
            judged = None if judged is None else 1 - judged
        reference_output = _text(row, f"output_{other}") if isinstance(row.get(f"output_{other}"), str) else None
        file.pairs.append(
            _Pair(
                where,
                _text(row, "instruction"),
                _text(row, "dataset"),
                (first, second)[mine - 1],
                _text(row, f"output_{mine}"),
                reference_output,
                (first, second)[other - 1],
                judged,
            )
        )
    annotators = [name for name, _ in Counter(_text(row, "annotator") for _, row in readable).most_common() if name]
    by = " and ".join(annotators) or "a judge without a name"
    _tell(file, annotators, f"judged by {by}, against {reference or 'a model without a name'}")
    _count(file, turned, "have the model as generator_1: their preference is turned round")
    _count(file, nulls, "have no preference (null): unjudged, no part of n, as published")
    if unknown:
        where, value = unknown[0]
        said = f"such as {str(value)[:40]!r} at {where}"
        _count(file, len(unknown), f"have a preference that is neither 0 nor 1 to 2, {said}: unjudged, no part of n")
    _unreadable(file)
    if checked:
        note = f"the judge's own log-probabilities give the preference of {checked - len(wrong):,} of {checked:,} rows"
        file.notes.append(note + (f" that carry them; the first that differs: {wrong[0]}" if wrong else ""))
    return file


def preference(value: Any) -> float | None:
    """How far a published preference goes to the second output: 0 to 1, None where it says nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if value == 0:
        return 0.5
    return float(value) - 1 if 1 <= value <= 2 else None


def from_log_probabilities(completion: Any) -> float | None:
    """The weighted judge's preference, P(M) / (P(m) + P(M)) over its first token, from its raw completion.

    It goes to the output that was shown as M; which one that was, the file does not say.
    """
    try:
        top = completion["logprobs"]["content"][0]["top_logprobs"]
        found = {one["token"]: float(one["logprob"]) for one in top}
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    first, second = found.get("m", -math.inf), found.get("M", -math.inf)
    likelier = max(first, second)
    if not math.isfinite(likelier):
        return None
    return math.exp(second - likelier) / (math.exp(first - likelier) + math.exp(second - likelier))


def _reference(names: Sequence[tuple[str, str]], folder_model: str) -> str:
    """Which of the models is the reference: the one in every pair; of two, not the folder's, else the published one."""
    present = Counter(name for pair in names for name in set(pair) if name)
    everywhere = [name for name in present if present[name] == len(names)]
    others = [name for name in everywhere if not _alike(name, folder_model)] or everywhere
    likely = [name for name in others if name in REFERENCES] or others
    if len(likely) == 1:
        return likely[0]
    firsts = Counter(first for first, _ in names if not likely or first in likely)
    return firsts.most_common(1)[0][0] if firsts else ""


def _tell(file: _File, annotators: list[str], about: str) -> None:
    """Notes on what the file is, and whether its folders say the same."""
    models = Counter(pair.model for pair in file.pairs)
    file.notes.append(about)
    owner, folder = _model_of(file.path), file.path.resolve().parent.name
    if owner is not None and models and not any(_alike(owner, model) for model in models):
        (name, count), *rest = models.most_common()
        more = f" and {len(rest):,} others" if rest else ""
        file.notes.append(
            f"another model's file, by its rows: the folder is named {owner}, but {count:,} of {len(file.pairs):,} "
            f"rows are of {name}{more}; the score is {name}'s, not {owner}'s, unless the two are names of one"
        )
    if owner is not None and annotators and folder not in annotators:
        said = " and ".join(annotators)
        file.notes.append(
            f"another judge's file, by its rows: the folder is named {folder}, but they were judged by {said}"
        )
    elif len(annotators) > 1:
        file.notes.append(f"the rows were judged by several annotators: {', '.join(annotators)}")


def _model_of(path: Path) -> str | None:
    """The model that the folders name, where they are laid out as published (results/MODEL/ANNOTATOR)."""
    path = path.resolve()
    if path.name == ALONE:
        return path.parent.name if path.parents[1].name == "results" else None
    by, *above = [parent.name for parent in path.parents]
    if above and above[0] == by:  # some are a folder deeper
        above = above[1:]
    if path.name != JUDGED or len(above) < 2:
        return None
    published = above[1] == "results" or by.startswith(("alpaca_eval_", "weighted_alpaca_eval_"))
    return above[0] if published else None


def _alike(a: str, b: str) -> bool:
    """Whether two names are one model's, whatever its owner, case and punctuation."""
    return _letters(a) == _letters(b) or _letters(a.rpartition("/")[2]) == _letters(b.rpartition("/")[2])


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _copies(files: Sequence[_File]) -> list[str]:
    """Files that say the same of every row; for one file alone, published ones beside it with the same bytes."""
    if len(files) > 1:
        notes = []
        seen: dict[bytes, Path] = {}
        for file in files:
            rows = [(p.instruction, p.output, p.judged) for p in file.pairs]
            other = seen.setdefault(blake2b(repr(rows).encode("utf-8", "replace")).digest(), file.path)
            if other != file.path:
                notes.append(f"{file.path.parent} and {other.parent} hold the same rows: one is a copy of the other")
        return notes
    path = files[0].path.resolve()
    if _model_of(path) is None or path.name != JUDGED:
        return []
    beside = {*path.parents[2].glob(f"*/{path.parent.name}/{JUDGED}"), *path.parents[1].glob(f"*/{JUDGED}")}
    size = path.stat().st_size
    same = [p for p in beside - {path} if p.stat().st_size == size and filecmp.cmp(path, p, shallow=False)]
    return [f"the file is the same, byte by byte, as {p.relative_to(path.parents[2])}" for p in sorted(same)]


def _stored(file: _File, problems: Sequence[Problem] | None, labels: dict[str, str]) -> list[Stored]:
    known = {p.item.question: p for p in problems} if problems is not None else None
    sources = {pair.dataset for pair in file.pairs}
    rows = len(file.pairs) + len(file.unreadable)
    listed = LISTED if sources <= SOURCES and rows >= COMPLETE * LISTED else rows
    found, seen, strange = [], Counter[tuple[str, str]](), 0
    for pair in file.pairs:
        problem = _alone_standing(pair) if known is None else known.get(pair.instruction)
        if problem is None:
            strange += 1
            continue
        seen[pair.model, problem.item.id] += 1
        again = seen[pair.model, problem.item.id]
        own = problem.item if again == 1 else replace(problem.item, id=f"{problem.item.id}#{again}")
        more = dict(problem.more) | {"listed": listed if known is None else len(known)}
        if pair.reference is not None:
            more |= {"reference": pair.reference, "reference_model": pair.reference_model}
        answer = Answer(pair.output, judged=pair.judged)
        found.append(Stored(replace(problem, item=own, more=more), (answer,), labels.get(pair.model, pair.model)))
    _count(file, sum(n - 1 for n in seen.values()), "repeat an instruction: each counts, under an id of its own")
    _count(file, strange, "are for no instruction of these files: not scored")
    if file.pairs:
        owner = Counter(pair.model for pair in file.pairs).most_common(1)[0][0]
        unread = [Problem(Item(f"unreadable/{where.rpartition(':')[2]}", "")) for where in file.unreadable]
        found += [Stored(p, (Answer(ended="failed", error="unreadable"),), labels.get(owner, owner)) for p in unread]
    return found


def _alone_standing(pair: _Pair) -> Problem:
    name = blake2b(pair.instruction.encode(), digest_size=6).hexdigest()
    own_id = f"{pair.dataset}/{name}" if pair.dataset else name
    return Problem(Item(own_id, pair.instruction, group=pair.dataset))


def _text(row: dict[str, Any], key: str) -> str:
    """A text, "" where there is none; half a surrogate pair, which no file can hold, becomes U+FFFD."""
    value = row.get(key)
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(value, str) else ""


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _count(file: _File, count: int, what: str) -> None:
    if count:
        file.notes.append(f"{count:,} of {len(file.pairs) + len(file.unreadable):,} rows {what}")


def _unreadable(file: _File) -> None:
    if file.unreadable:
        _count(file, len(file.unreadable), f"are no instruction and output, the first {file.unreadable[0]}: failed")
