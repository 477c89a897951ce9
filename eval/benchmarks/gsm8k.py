"""GSM8K: grade-school mathematics in words. Evaluated on test.jsonl {question, answer}; train gives examples only.

`answer` is the number after "####". Ids are `test/ROW`, counted from 0.

The eight published examples are those of the chain-of-thought paper: put them as `demonstrations.txt` beside the
data, blocks between blank lines of

    Question: ...
    Answer: ... So the answer is 18.

Without it the first eight rows of train.jsonl stand in, without their calculator marks <<...>>, each on one line.

| protocol | the answer | right if |
|---|---|---|
| `tulu` | the last number: a signed decimal or an integer without sign; else all | equal by `exact_match` |
| `original` | after the first "#### ", else after the last "A:" that begins a line | the same signs, commas out |
| `strict` | after the last "####", "answer is" and such, else the last number: see `numbers` | the same number |

By `tulu` commas between digits go first, and then all punctuation: "18.00" is 1800 and misses 18, "1.5" matches 15,
and -8 is 8.

What no rule can read counts as unextractable, which is worth 0; an empty answer is an error class in `strict`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from caravan.errors import UserError
from caravan.eval.benchmark import Answer, Ask, Item, Outputs, Problem, Setting, Stored, Verdict
from caravan.eval.files import AGAIN, locate, read_text, rows, text
from caravan.eval.scoring.exact_match import exact_match
from caravan.eval.scoring.numbers import final_number, only_number

VERSION = 1
HUB = "openai/gsm8k"
LICENCE = "MIT"
VARIANTS = ("8-shot", "0-shot")
METRICS = ("accuracy",)
AVERAGE: Literal["micro", "macro"] = "micro"
TULU_SAMPLE = 200

SHOTS = 8
DEMONSTRATIONS = "demonstrations.txt"
SOLUTIONS = "example_model_solutions.jsonl"
MARK = re.compile(r"####|\banswer(?:\s+is\b:?|\**\s*:)|^A:|\\boxed\{", re.I | re.M)


def items(folder: Path) -> Iterator[Item]:
    """The test problems in the published order."""
    (path, *_) = locate(folder, "test.jsonl", "main/test-*.parquet")
    for number, (where, row) in enumerate(rows(path)):
        _, mark, final = text(row, "answer", where).rpartition("####")
        if not mark:
            raise UserError('the answer has no "####"', where=where, fix=AGAIN)
        yield Item(f"test/{number}", text(row, "question", where), final.strip())


def problems(folder: Path, variant: str) -> Iterator[Problem]:
    """The test problems, each with the same examples (`0-shot`: none)."""
    shots = _shots(folder) if variant != "0-shot" else ()
    for item in items(folder):
        yield Problem(numbered(item, str(folder)), (item.answer,), shots=shots)


def numbered(item: Item, where: str) -> Item:
    """The item; `UserError` where its answer is no number."""
    if only_number(item.answer) is None:
        raise UserError(f"the answer of {item.id} is no number: {item.answer!r}", where=where, fix=AGAIN)
    return item


def notes(folder: Path, variant: str) -> list[str]:
    """What a reader of the score must know of the prompt."""
    if variant == "0-shot" or _found(folder, DEMONSTRATIONS):
        return []
    return [f"examples from train, not the published ones, which gsm8k/{DEMONSTRATIONS} would hold"]


def _found(folder: Path, *patterns: str) -> Path | None:
    try:
        return locate(folder, *patterns)[0]
    except UserError:
        return None


def _shots(folder: Path) -> tuple[Problem, ...]:
    path = _found(folder, DEMONSTRATIONS)
    if path is not None:
        return tuple(_demonstrations(path))
    path = _found(folder, "train.jsonl", "main/train-*.parquet")
    if path is None:
        fix = f"put train.jsonl or {DEMONSTRATIONS} there, or ask without examples: gsm8k:0-shot"
        raise UserError("no examples", where=str(folder), fix=fix)
    found = []
    for number, (where, row) in zip(range(SHOTS), rows(path), strict=False):
        steps, mark, final = text(row, "answer", where).rpartition("####")
        if not mark:
            raise UserError('the answer has no "####"', where=where, fix=AGAIN)
        thought = " ".join(re.sub(r"<<.*?>>", "", steps).split("\n")).strip()
        found.append(_shot(f"train/{number}", text(row, "question", where), thought, final))
    return tuple(found)


def _demonstrations(path: Path) -> Iterator[Problem]:
    blocks = re.split(r"\n[ \t]*\n", read_text(path).replace("\r\n", "\n").strip())
    for number, block in enumerate(blocks):
        match = re.fullmatch(r"Question: (.+)\nAnswer: (.*)So the answer is (.+?)\.", block.strip(), re.S)
        if match is None:
            fix = 'write "Question: ...", and on the next line "Answer: ... So the answer is N."'
            raise UserError(f"block {number + 1} is no example", where=str(path), fix=fix)
        yield _shot(f"demonstration/{number}", match[1], match[2].strip(), match[3])


def _shot(own_id: str, question: str, thought: str, final: str) -> Problem:
    return Problem(Item(own_id, question.strip(), final.strip()), more={"thought": thought})


def ask(problem: Problem, setting: Setting) -> Ask:
    """The published header, the examples, the question. `original` has the answers end "#### N", as its rule wants.

    `tulu` ends an answer at a line's end in plain form, and by nothing in chat form; else it ends at a next question.
    """
    header = "Answer the following questions." if problem.shots else "Answer the following question."
    end = "\n#### {}" if setting.protocol == "original" else " So the answer is {}."
    parts = [header]
    for shot in problem.shots:
        said = shot.more["thought"] + end.format(shot.item.answer)
        parts.append(f"Question: {shot.item.question}\nAnswer: {said.lstrip()}")
    parts.append(f"Question: {problem.item.question.strip()}")
    published = setting.protocol == "tulu"
    stop, chat_stop = (("\n",), ()) if published else (("\nQuestion:",), ("\nQuestion:",))
    return Ask("\n\n".join(parts), "\nAnswer:", "Answer:", new_tokens=512, stop=stop, chat_stop=chat_stop)


def score(problem: Problem, answers: Sequence[Answer], setting: Setting) -> Verdict:
    """Right or wrong by the protocol's rule; see the module."""
    (answer,) = answers
    if answer.ended == "failed":
        return Verdict("failed", rule="no answer came")
    if setting.protocol == "strict":
        if not answer.text.strip():
            return Verdict("empty", rule="an empty answer")
        value, rule = final_number(answer.text, MARK)
        return number_verdict(value, problem.item.answer, rule)
    if setting.protocol == "tulu":
        return tulu_verdict(answer.text, problem.item.answer)
    found, rule = _original(answer.text)
    if not found:
        return Verdict("unextractable", {"accuracy": 0.0}, rule=rule)
    right = found == problem.item.answer.replace(",", "")
    return Verdict("scored", {"accuracy": float(right)}, found, rule)


def number_verdict(value: Fraction | None, gold: str, rule: str) -> Verdict:
    """Right if both are the same number; unextractable where none was found."""
    if value is None:
        return Verdict("unextractable", {"accuracy": 0.0}, rule=rule)
    return Verdict("scored", {"accuracy": float(value == only_number(gold))}, str(value), rule)


def tulu_verdict(said: str, gold: str) -> Verdict:
    """The published rule, faults included; shared with MGSM."""
    commas = re.compile(r"(\d),(\d)")
    found = re.findall(r"[-+]?\d*\.\d+|\d+", commas.sub(r"\1\2", said))
    right = exact_match(found[-1] if found else said, commas.sub(r"\1\2", gold))
    if not found and not right:
        return Verdict("unextractable", {"accuracy": 0.0}, rule="no number" if said.strip() else "an empty answer")
    rule = "the last number, without punctuation" if found else "the whole text"
    return Verdict("scored", {"accuracy": float(right)}, found[-1] if found else said, rule)


def _original(said: str) -> tuple[str, str]:
    if match := re.search(r"#### (-?[0-9.,]+)", said):
        return match[1].strip().replace(",", ""), "first '####'"
    if marked := re.split(r"^A:", said, flags=re.M)[1:]:
        return marked[-1].strip().replace(",", ""), "last line 'A:'"
    return "", "neither '####' nor a line 'A:'"


def stored(path: Path, problems: Callable[[], Sequence[Problem]] | None) -> Outputs | None:
    """Published solutions: JSON Lines {question, ground_truth, MODEL: {solution, is_correct}}, any number of models.

    Rows are joined to the benchmark by their question; without it their own ground truth is what counts. A row that
    lacks a model's solution is a failed answer of that model.
    """
    if path.is_dir():
        path = path / SOLUTIONS
    if not path.is_file() or not path.name.endswith((".jsonl", ".jsonl.gz")):
        return None
    found: list[tuple[str, dict[str, Any]]] = []
    for where, row in rows(path):
        if not found and not (isinstance(row.get("ground_truth"), str) and _models(row)):
            return None
        found.append((where, row))
    if not found:
        return None
    models = list(dict.fromkeys(model for _, row in found for model in _models(row)))
    by_question = {p.item.question: p for p in problems()} if problems else None
    answered: list[tuple[Problem, dict[str, Any], str]] = []
    seen, unknown = dict[str, str](), 0
    for number, (where, row) in enumerate(found):
        own = _own_problem(row, number, where)
        problem = own if by_question is None else by_question.get(own.item.question)
        if problem is None:
            unknown += 1
            continue
        if problem.item.answer.replace(",", "") != own.item.answer.replace(",", ""):
            what = f"the answer is {own.item.answer!r}, that of {problem.item.id} is {problem.item.answer!r}"
            raise UserError(what, where=where, fix="give the benchmark's files that these solutions answer")
        if by_question is not None and problem.item.id in seen:
            raise UserError(f"the question of {seen[problem.item.id]} again", where=where, fix="keep one of them")
        seen[problem.item.id] = where
        answered.append((problem, row, where))
    stored_rows = [_stored(problem, row, model, where) for model in models for problem, row, where in answered]
    told = [f"{unknown:,} questions are none of the benchmark's: not scored"] if unknown else []
    return Outputs(stored_rows, VARIANTS[0], told)


def _models(row: dict[str, Any]) -> list[str]:
    return [key for key, value in row.items() if isinstance(value, dict) and "solution" in value]


def _own_problem(row: dict[str, Any], number: int, where: str) -> Problem:
    final, rule = _original(text(row, "ground_truth", where))
    if not final:
        raise UserError(f"the ground truth has {rule}", where=where, fix=AGAIN)
    item = Item(f"test/{number}", text(row, "question", where), final)
    return Problem(numbered(item, where), (final,))


def _stored(problem: Problem, row: dict[str, Any], model: str, where: str) -> Stored:
    said = row.get(model)
    if not isinstance(said, dict) or said.get("solution") is None:
        return Stored(problem, (Answer(ended="failed", error=f"{where} has no solution"),), model)
    flag = str(said.get("is_correct")).lower()
    claimed = {"true": 1.0, "false": 0.0}.get(flag)
    return Stored(problem, (Answer(text(said, "solution", where)),), model, claimed)
