"""BIG-Bench Hard: 27 tasks, `TASK.json` with {examples: [{input, target}]}; there is one split.

Options, where a task has any, are part of the input. Ids are `TASK/ROW`, counted from 0. The examples come from the
authors' `cot-prompts/TASK.txt`, whose first two lines (a canary and a rule) are no part of the prompt.

| protocol | the answer | right if |
|---|---|---|
| `tulu` | from the first "the answer is" to the first full stop on its line, else all | equal by `exact_match` |
| `original` | after the last "answer is ", without a full stop at the end, else all; in direct form all | equal |
| `strict` | after the last "answer is", to the end of the sentence: see `bbh_answers` | equal, by kind of answer |

By a slip the pattern of `tulu` takes "|he answer is" too. `tulu` and `original` compare a whole text that has no
"answer is". Where that is wrong in a chain of thought, the item counts as unextractable, which is worth 0: the score
is the published one, and the failures are seen. An empty answer is worth what their rules make of it (by `tulu` it is
right where the target is a single bracket), in `strict` it is an error class. The headline is the mean of the tasks'
means; the authors' mean counts the three tasks of logical deduction as one, and the three of tracking shuffled objects.

The prompts are those of the published outputs but for three direct ones, which the authors wrote differently by
hand (a date, a slip of the keys) than their files of examples have them: date_understanding, snarks and
tracking_shuffled_objects_three_objects.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from caravan.errors import UserError
from caravan.eval.benchmark import Answer, Ask, Item, Outputs, Problem, Scored, Setting, Stored, Verdict
from caravan.eval.files import AGAIN, entries, json_value, locate, read_text, text
from caravan.eval.scoring.bbh_answers import answer_of, right_answer
from caravan.eval.scoring.exact_match import exact_match

VERSION = 1
HUB = "openeval/BIG-Bench-Hard"
LICENCE = "MIT"
VARIANTS = ("cot", "direct")
METRICS = ("accuracy",)
AVERAGE: Literal["micro", "macro"] = "macro"
TULU_SAMPLE = 40

THINK = "Let's think step by step."
CONCLUSION = "So the answer is"


def items(folder: Path) -> Iterator[Item]:
    """All items, task by task in the order of their names."""
    found = 0
    for path in locate(folder, "*.json"):
        value = json_value(path)
        if not isinstance(value, dict) or "examples" not in value:
            continue  # such as the list of files that some copies add
        for number, example in enumerate(entries(value, "examples", str(path))):
            where = f"{path}:{number + 1}"
            yield Item(
                f"{path.stem}/{number}", text(example, "input", where), text(example, "target", where), path.stem
            )
            found += 1
    if not found:
        raise UserError("no task file with examples here", where=str(folder), fix="lay out the files of bbh/ there")


def problems(folder: Path, variant: str) -> Iterator[Problem]:
    """All items, each with its task's three examples. Items of the same input are a cluster."""
    prompts: dict[str, tuple[str, tuple[Problem, ...]]] = {}
    first: dict[tuple[str, str], str] = {}
    found = list(items(folder))
    for item in found:
        first.setdefault((item.group, item.question), item.id)
    repeated = {first[i.group, i.question] for i in found if first[i.group, i.question] != i.id}
    for item in found:
        if item.group not in prompts:
            prompts[item.group] = _prompt(folder, item.group)
        description, shots = prompts[item.group]
        same = first[item.group, item.question]
        cluster = same if same in repeated else ""
        yield Problem(item, (item.answer,), cluster, shots, {"description": description})


def _prompt(folder: Path, task: str) -> tuple[str, tuple[Problem, ...]]:
    """What the authors' prompt file says of a task, and its examples with their chains of thought."""
    try:
        (path, *_) = locate(folder, f"{task}.txt")
    except UserError as error:
        fix = f"put the authors' cot-prompts/{task}.txt into this folder"
        raise UserError(f"no examples of {task}", where=error.where, fix=fix) from None
    published = read_text(path).replace("\r\n", "\n").split("\n", 2)[-1].strip()
    description, *blocks = re.split(r"(?:^|\n\n)Q: ", published)
    shots = []
    for number, block in enumerate(blocks):
        question, mark, thought = block.partition("\nA: ")
        if not mark or CONCLUSION not in thought:
            what = f'example {number + 1} has no "A: " or no "{CONCLUSION}"'
            raise UserError(what, where=str(path), fix=AGAIN)
        shots.append(Problem(Item(f"{task}/shot/{number}", question, thought, task)))
    if not shots:
        raise UserError('no example that begins "Q: "', where=str(path), fix=AGAIN)
    return description, tuple(shots)


def ask(problem: Problem, setting: Setting) -> Ask:
    """The description, the examples, the question; a blank line ends an answer in plain form.

    `original` begins the chain of thought, as the authors do ("Let's think step by step."). The examples of the direct
    form keep the full stop after their answer in `tulu`, as published. In chat form `tulu` has no stop string; else
    an answer ends where a model goes on to a next question, for a chain of thought may hold blank lines.
    """
    direct = setting.variant == "direct"
    shots = []
    for shot in problem.shots:
        answer = shot.item.answer
        if direct:
            answer = answer.rpartition(CONCLUSION)[2].strip()
            answer = answer if setting.protocol == "tulu" else answer.removesuffix(".")
        shots.append(f"\n\nQ: {shot.item.question}\nA: {answer}")
    body = "".join([problem.more["description"], *shots, f"\n\nQ: {problem.item.question}"])
    opener = f"A: {THINK}" if setting.protocol == "original" and not direct else "A:"
    chat_stop = () if setting.protocol == "tulu" else ("\n\nQ:",)
    return Ask(body, f"\n{opener}", opener, new_tokens=512, stop=("\n\n",), chat_stop=chat_stop)


def score(problem: Problem, answers: Sequence[Answer], setting: Setting) -> Verdict:
    """Right or wrong by the protocol's rule; see the module."""
    (answer,) = answers
    if answer.ended == "failed":
        return Verdict("failed", rule="no answer came")
    direct = setting.variant == "direct"
    if setting.protocol == "strict":
        if not answer.text.strip():
            return Verdict("empty", rule="an empty answer")
        found, rule = answer_of(problem.item, answer.text, direct=direct)
        if not found:
            return Verdict("unextractable", {"accuracy": 0.0}, rule=rule)
        return Verdict("scored", {"accuracy": float(found == right_answer(problem.item))}, found, rule)
    target = problem.item.answer
    if setting.protocol == "tulu":
        extracted, rule = _tulu(answer.text)
        right = exact_match(extracted, target)
    else:
        extracted, rule = (answer.text.strip(), WHOLE) if direct else _original(answer.text)
        right = extracted == target
    if rule == WHOLE and not right and (not direct or not extracted):
        return Verdict("unextractable", {"accuracy": 0.0}, rule="an empty answer" if not extracted else NO_MARK)
    return Verdict("scored", {"accuracy": float(right)}, extracted, rule)


WHOLE = "the whole text"
NO_MARK = "no 'answer is': the whole text"


def _tulu(said: str) -> tuple[str, str]:
    match = re.search(r"[tT|]he answer is (.*?)\.", said)
    return (match[1].strip(), "first 'the answer is' to the first full stop") if match else (said.strip(), WHOLE)


def _original(said: str) -> tuple[str, str]:
    _, mark, rest = said.rpartition("answer is ")
    return rest.strip().removesuffix("."), "last 'answer is ' to the end" if mark else WHOLE


def published(scored: Scored) -> dict[str, Any]:
    """Accuracies in percent by task, as the authors publish them, and both means over the tasks that are there."""
    tasks: dict[str, list[float]] = {}
    for problem, verdict in scored:
        if "accuracy" in verdict.values:
            tasks.setdefault(problem.item.group, []).append(verdict.values["accuracy"])
    accuracy = {task: sum(values) / len(values) * 100 for task, values in sorted(tasks.items())}
    families: dict[str, list[float]] = {}
    for task, value in accuracy.items():
        families.setdefault(next((f for f in FAMILIES if task.startswith(f)), task), []).append(value)
    means = [sum(values) / len(values) for values in families.values()]
    if not means:
        return {}
    return {
        "accuracy": accuracy,
        "files": len(accuracy),
        "mean_of_files": sum(accuracy.values()) / len(accuracy),
        "tasks": len(means),
        "mean_of_tasks": sum(means) / len(means),
    }


FAMILIES = ("logical_deduction_", "tracking_shuffled_objects_")


def stored(path: Path, problems: Callable[[], Sequence[Problem]] | None) -> Outputs | None:
    """Outputs in the authors' form: `TASK_few_shot_template_*.json` with {outputs: [{input, prediction, target}]}.

    A file or a folder of them; a folder's name is the model's. `input` is the prompt and may be missing where the
    benchmark's files are given; they must have the same targets in the same rows. Without them the questions are what
    the prompts of a file do not share.
    """
    files = [(file, value) for file, value in _output_files(path)]
    if not files:
        return None
    by_task: dict[str, list[Problem]] = {}
    for problem in problems() if problems else ():
        by_task.setdefault(problem.item.group, []).append(problem)
    rows: list[Stored] = []
    variants, seen, moved = dict[str, Path](), dict[tuple[str, str], Path](), 0
    for file, value in files:
        outputs = entries(value, "outputs", str(file))
        task = re.sub(r"_(?:few|zero)_shot.*", "", file.stem)
        variant = _variant(outputs)
        model = file.resolve().parent.name.removesuffix(f"-{variant}")
        variants.setdefault(variant, file)
        if len(variants) > 1:
            what = f"both forms, such as {' and '.join(str(file) for file in variants.values())}"
            raise UserError(what, where=str(path), fix="name the folder of one form")
        if (model, task) in seen:
            what = f"outputs of {task} twice, here and in {seen[model, task]}"
            raise UserError(what, where=str(file), fix="name one file or folder")
        seen[model, task] = file
        found = _own_problems(outputs, task, file) if problems is None else by_task.get(task)
        if not found:
            raise UserError(f"no task {task!r} among the benchmark's files", where=str(file), fix="name it TASK.json")
        moved += _check(outputs, found, file)
        for row, problem in zip(outputs, found, strict=False):
            rows.append(Stored(problem, (Answer(row["prediction"]),), model))
    notes = [f"{moved} prompts do not end with the question of the benchmark's file"] if moved else []
    return Outputs(rows, next(iter(variants)), notes)


def _output_files(path: Path) -> Iterator[tuple[Path, Any]]:
    """The files with outputs of this form; what else lies there is passed over."""
    for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
        if file.suffix != ".json" or file.name.startswith("."):
            continue
        value = json_value(file)
        first = value.get("outputs") if isinstance(value, dict) else None
        if (
            isinstance(first, list)
            and first
            and isinstance(first[0], dict)
            and {"prediction", "target"} <= set(first[0])
        ):
            yield file, value


def _variant(outputs: list[dict[str, Any]]) -> str:
    """The form that outputs answer: the examples in the prompts show it, or else the answers."""
    texts = [str(row.get("input") or row.get("prediction")) for row in outputs]
    return "cot" if sum("answer is" in t for t in texts) * 2 > len(texts) else "direct"


def _own_problems(outputs: list[dict[str, Any]], task: str, file: Path) -> list[Problem]:
    """The problems as the prompts have them: the rest of each after what all share, up to the last example's end."""
    prompts = [text(row, "input", f"{file}:{number}") for number, row in enumerate(outputs, 1)]
    first, last = min(prompts), max(prompts)  # all share what the first and the last in order share
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    start = first.rfind("Q: ", 0, same) + len("Q: ") if "Q: " in first[:same] else 0
    found = []
    for number, (row, prompt) in enumerate(zip(outputs, prompts, strict=True)):
        target = text(row, "target", f"{file}:{number + 1}")
        question = prompt[start:].rpartition("\nA:")[0] or prompt[start:]
        found.append(Problem(Item(f"{task}/{number}", question, target, task), (target,)))
    return found


def _check(outputs: list[dict[str, Any]], found: Sequence[Problem], file: Path) -> int:
    """See that each row answers its problem; the number of those whose prompt ends with another text."""
    if len(outputs) > len(found):
        fix = "give the benchmark's files that they answer"
        raise UserError(f"{len(outputs)} outputs for {len(found)} items", where=str(file), fix=fix)
    moved = 0
    for number, (row, problem) in enumerate(zip(outputs, found, strict=False), 1):
        where = f"{file}:{number}"
        text(row, "prediction", where)
        if text(row, "target", where) != problem.item.answer:
            what = f"the target is {row['target']!r}, that of {problem.item.id} is {problem.item.answer!r}"
            raise UserError(what, where=where, fix="give outputs in the order of the benchmark's files")
        moved += "input" in row and f"Q: {problem.item.question}\nA:" not in str(row["input"])
    return moved
