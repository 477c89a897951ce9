"""Two files of stored outputs, joined by id into pairs to judge; what does not join is counted.

A file is JSON Lines or a JSON list of rows with an answer (`output`, `response` or `completion`), an `id`, and the
prompt (`prompt`, `instruction` with `input`, or `question`), which one of the two files may lack; lists without ids
(AlpacaEval's `model_outputs.json`) join by prompt. A run of `evaluate` (its folder, or its `items.parquet`) joins by
benchmark and item, and the prompt is the benchmark's question.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from caravan.errors import UserError
from caravan.eval import files
from caravan.eval.choose import folder_of
from caravan.plugins import load

ANSWERS = ("output", "response", "completion")
PROMPTS = ("prompt", "instruction", "question")
MODELS = ("generator", "model")
GROUPS = ("group", "dataset")


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt and what two models answered; `group` is where the prompt comes from, where a file says so."""

    id: str
    prompt: str
    a: str
    b: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class Pairs:
    """What there is to judge: the two models' names, the pairs in the order of A, and what a person must know."""

    a: str
    b: str
    pairs: list[Pair]
    notes: list[str]


@dataclass
class _Outputs:
    name: str
    rows: dict[str, tuple[str, str, str]] = field(default_factory=dict)  # id to prompt ("": unknown), answer, group
    notes: Counter[str] = field(default_factory=Counter)


def read_pairs(a: Path, b: Path, data_dir: str | None = None) -> Pairs:
    """Join two files of outputs; `UserError` where nothing joins, or a row has no answer or no prompt.

    `data_dir` is where the benchmarks' questions lie when both files are runs (see `evaluate run`).
    """
    left, right = _read(a, data_dir), _read(b, data_dir)
    notes = [f"{file}: {n:,} {what}" for file, one in ((a, left), (b, right)) for what, n in sorted(one.notes.items())]
    shared = [key for key in left.rows if key in right.rows]
    for file, only in ((a, len(left.rows) - len(shared)), (b, len(right.rows) - len(shared))):
        if only:
            notes.append(f"{file}: {only:,} have no partner in the other file, and are left out")
    pairs, other = [], 0
    for key in shared:
        (asked, answer, group), (asked_b, answer_b, group_b) = left.rows[key], right.rows[key]
        if asked and asked_b and asked.strip() != asked_b.strip():
            other += 1
        elif not asked and not asked_b:
            raise UserError("neither file has its prompt", where=f"item {key}", fix='add it to one of them as "prompt"')
        else:
            pairs.append(Pair(key, asked or asked_b, answer, answer_b, group or group_b))
    if other:
        notes.append(f"{other:,} have another prompt in {b} than in {a}, and are left out")
    if not pairs:
        why = "; ".join(notes) or "they are empty"
        raise UserError(f"nothing to judge: {why}", where=f"{a} and {b}", fix="give outputs for the same prompts")
    names = (left.name, right.name) if left.name != right.name else (f"{left.name} (A)", f"{right.name} (B)")
    return Pairs(*names, pairs, notes)


def _read(path: Path, data_dir: str | None) -> _Outputs:
    file, told = path, ""
    if path.is_dir():
        file, told = path / "items.parquet", run_model(path)
        if not file.is_file():
            raise UserError("no items.parquet in it", where=str(path), fix="name a finished run, or a file of outputs")
    found, names = _Outputs(told or path.stem), set()
    for where, row in files.rows(file):
        key, prompt = _run_item(row, data_dir) if "benchmark" in row else _own(row, where)
        names |= {row[name] for name in MODELS if isinstance(row.get(name), str) and row[name]}
        answer = _answer(row, where)
        if answer is None:
            found.notes["were never answered, and are left out"] += 1
        elif key in found.rows:
            found.notes["repeat an id, and are left out"] += 1
        else:
            group = next((row[name] for name in GROUPS if isinstance(row.get(name), str)), "")
            found.rows[key] = (prompt, answer, group)
    if len(names) == 1:
        found.name = names.pop()
    return found


def _own(row: Mapping[str, Any], where: str) -> tuple[str, str]:
    """Id and prompt of a row; the prompt is the id where there is none."""
    prompt = next((files.text(dict(row), name, where) for name in PROMPTS if row.get(name) is not None), "")
    more = row.get("input")
    if isinstance(more, str) and more.strip() and "instruction" in row:
        prompt = f"{prompt}\n\n{more}"
    own = row.get("id")
    if isinstance(own, (str, int)) and not isinstance(own, bool) and own != "":
        return str(own), prompt
    if own is not None or not prompt:
        fix = 'write {"id": ..., "prompt": ..., "output": ...} on each line'
        raise UserError(
            "no id and no prompt to join by" if own is None else "an id that is no text", where=where, fix=fix
        )
    return prompt, prompt


def _answer(row: Mapping[str, Any], where: str) -> str | None:
    """The answer of a row; None where the model gave none."""
    if "outputs" in row:
        texts, ended = row["outputs"], row.get("ended") or [""]
        return None if not texts or ended[0] == "failed" else str(texts[0])
    for name in ANSWERS:
        if row.get(name) is not None:
            return files.text(dict(row), name, where)
    if any(name in row for name in ANSWERS):
        return None
    raise UserError(f"no answer ({', '.join(ANSWERS)})", where=where, fix='name it "output"')


def run_model(folder: Path) -> str:
    """The model of a run's folder; "" where it is none."""
    try:
        return str(json.loads((folder / "run.json").read_text(encoding="utf-8")).get("model", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _run_item(row: Mapping[str, Any], data_dir: str | None) -> tuple[str, str]:
    name, variant, own = str(row["benchmark"]), str(row.get("variant", "")), str(row.get("id", ""))
    return f"{name}:{variant}:{own}", _questions(name, data_dir).get(own, "")


@cache
def _questions(name: str, data_dir: str | None) -> dict[str, str]:
    items: Iterator[Any] = load("benchmarks", name).items(folder_of(name, data_dir))
    return {item.id: f"{item.passage}\n\n{item.question}".strip() + _options(item.choices) for item in items}


def _options(choices: Sequence[str]) -> str:
    return "".join(f"\n{chr(65 + n)}. {choice}" for n, choice in enumerate(choices))
