"""IFEval: 541 prompts whose instructions a program can check; `input_data.jsonl`; there is one split.

Ids are the data's own keys. A prompt counts as followed when all of its instructions are; instructions are also counted
one by one. Loosely, a response follows where one of eight variants of it does: without its first line, its last line,
or both, each also without asterisks.

| protocol | keywords and section marks | an empty response |
|---|---|---|
| `original`, `tulu` (the paper has no IFEval) | regular expressions | follows nothing |
| `strict` | texts | a class of its own |

`evaluate score` reads the published responses {prompt, response}. `published` gives the four accuracies in percent as
the authors print them: their instruction accuracy is over all instructions, the metric's over prompts.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from caravan.errors import UserError
from caravan.eval.benchmark import Answer, Ask, Item, Outputs, Problem, Scored, Setting, Stored, Verdict
from caravan.eval.files import AGAIN, locate, rows, text, unique
from caravan.eval.scoring.ifeval_checks import checked, follows

VERSION = 1
HUB = "google/IFEval"
LICENCE = "Apache-2.0"
VARIANTS = ("0-shot",)
METRICS = ("prompt_strict", "instruction_strict", "prompt_loose", "instruction_loose")
AVERAGE: Literal["micro", "macro"] = "micro"
NEW_TOKENS = 2048


def items(folder: Path) -> Iterator[Item]:
    """The prompts in the published order; there is no gold answer."""
    return (item for _, _, item in _read(folder))


def problems(folder: Path, variant: str) -> Iterator[Problem]:
    """The prompts with their instructions; `UserError` for an instruction that is not known, or lacks an argument."""
    for where, row, item in _read(folder):
        names, arguments = row.get("instruction_id_list"), row.get("kwargs")
        if not isinstance(names, list) or not isinstance(arguments, list) or len(names) != len(arguments) or not names:
            raise UserError("not as many kwargs as instructions", where=where, fix=AGAIN)
        asked = [checked(name, own, where) for name, own in zip(names, arguments, strict=True)]
        yield Problem(item, more={"instructions": asked})


def ask(problem: Problem, setting: Setting) -> Ask:
    """The prompt and nothing else."""
    return Ask(problem.item.question, new_tokens=NEW_TOKENS)


def score(problem: Problem, answers: Sequence[Answer], setting: Setting) -> Verdict:
    """Whether all instructions were followed, and which share of them, strictly and loosely."""
    (answer,) = answers
    if answer.ended == "failed":
        return Verdict("failed", rule="no response came")
    if setting.protocol == "strict" and not answer.text.strip():
        return Verdict("empty", rule="an empty response")
    asked, exactly = problem.more["instructions"], setting.protocol == "strict"
    strictly = [follows(name, answer.text, own, exactly=exactly) for name, own in asked]
    variants = loosened(answer.text)
    loosely = [any(follows(name, variant, own, exactly=exactly) for variant in variants) for name, own in asked]
    values = {
        "prompt_strict": float(all(strictly)),
        "instruction_strict": sum(strictly) / len(strictly),
        "prompt_loose": float(all(loosely)),
        "instruction_loose": sum(loosely) / len(loosely),
    }
    failed = [name for (name, _), ok in zip(asked, strictly, strict=True) if not ok]
    rule = f"not followed: {', '.join(failed)}" if failed else "all instructions followed"
    return Verdict("scored", values, f"{sum(strictly)} of {len(strictly)}", rule)


def loosened(response: str) -> list[str]:
    """The eight variants of a response by which it may follow loosely."""
    lines = response.split("\n")
    ways = [response, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return [*ways, *(way.replace("*", "") for way in ways)]


def stored(path: Path, problems: Callable[[], Sequence[Problem]] | None) -> Outputs | None:
    """Published responses: JSON Lines {prompt, response}, joined by the prompt; they need the data."""
    if path.is_dir() or path.suffix not in (".jsonl", ".json", ".gz"):
        return None
    read = list(rows(path))
    if not read or not all({"prompt", "response"} <= row.keys() for _, row in read) or problems is None:
        return None
    by_prompt = {problem.item.question: problem for problem in problems()}
    found: dict[str, Stored] = {}
    unknown = 0
    for where, row in read:
        problem = by_prompt.get(text(row, "prompt", where))
        if problem is None:
            unknown += 1
        elif problem.item.id in found:
            raise UserError("a second response to the same prompt", where=where, fix="keep one of them")
        else:
            found[problem.item.id] = Stored(problem, (Answer(text(row, "response", where)),))
    notes = [f"{unknown:,} responses are to prompts that the data do not have: not scored"] if unknown else []
    return Outputs(list(found.values()), VARIANTS[0], notes)


def published(scored: Scored) -> dict[str, Any]:
    """The four accuracies in percent, instructions pooled over prompts; one without a value follows nothing."""
    counted = [(len(problem.more["instructions"]), verdict.values) for problem, verdict in scored]
    total = sum(size for size, _ in counted)
    if not total:
        return {}
    found = {}
    for way in ("strict", "loose"):
        found[f"prompt_{way}"] = 100 * sum(v.get(f"prompt_{way}", 0.0) for _, v in counted) / len(counted)
        followed = sum(size * v.get(f"instruction_{way}", 0.0) for size, v in counted)
        found[f"instruction_{way}"] = 100 * followed / total
    return found


def _read(folder: Path) -> Iterator[tuple[str, dict[str, Any], Item]]:
    seen = set[str]()
    (path, *_) = locate(folder, "input_data.jsonl", "ifeval_input_data.jsonl")
    for where, row in rows(path):
        if "key" not in row:
            raise UserError("'key' is missing", where=where, fix=AGAIN)
        yield where, row, Item(unique(str(row["key"]), seen), text(row, "prompt", where))
