"""IFEval: 541 prompts whose instructions a program can check; `input_data.jsonl`; there is one split.

Ids are the data's own keys. A prompt counts as followed when all of its instructions are; instructions are also counted
one by one. Loosely, a response follows where one of eight variants of it does: without its first line, its last line,
or both, each also without asterisks.

| protocol | an instruction is followed | an empty response |
|---|---|---|
| `original`, `tulu` (the paper has no IFEval) | as the authors' scripts decide | follows nothing |
| `strict` | by what its words ask for: see `scoring/ifeval_checks.py` | a class of its own |

`evaluate score` reads the published responses {prompt, response}, and the results that the authors' script writes, with
its own verdict. `published` gives the accuracies in percent as the authors print them: theirs of instructions is over
all instructions, the metric's is the mean of prompts' shares. What `Verdict.extracted` tells of each instruction, in
order: followed strictly, and loosely.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from caravan.errors import UserError
from caravan.eval.benchmark import Answer, Ask, Item, Outputs, Problem, Scored, Setting, Stored, Verdict
from caravan.eval.files import AGAIN, locate, rows, text, unique
from caravan.eval.scoring.ifeval_checks import Instruction, check, instruction

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
        asked = tuple(instruction(name, own, where) for name, own in zip(names, arguments, strict=True))
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
    asked: Sequence[Instruction] = problem.more["instructions"]
    exact = setting.protocol == "strict"
    found = [check(one, answer.text, exact=exact) for one in asked]
    variants = loosened(answer.text)[1:]
    strict = [one.followed for one in found]
    loose = [
        ok or any(check(one, v, exact=exact).followed for v in variants) for one, ok in zip(asked, strict, strict=True)
    ]
    values = {
        "prompt_strict": float(all(strict)),
        "instruction_strict": sum(strict) / len(asked),
        "prompt_loose": float(all(loose)),
        "instruction_loose": sum(loose) / len(asked),
    }
    failed = [f"{one.id} ({what.said})" for one, what in zip(asked, found, strict=True) if not what.followed]
    rule = f"failed: {'; '.join(failed)}" if failed else "all instructions followed"
    return Verdict("scored", values, f"strict: {_told(strict)}; loose: {_told(loose)}", rule)


def _told(followed: Sequence[bool]) -> str:
    return " ".join("yes" if ok else "no" for ok in followed)


def loosened(response: str) -> list[str]:
    """The eight variants of a response by which it may follow loosely."""
    lines = response.split("\n")
    ways = [response, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return [*ways, *(way.replace("*", "") for way in ways)]


def stored(path: Path, problems: Callable[[], Sequence[Problem]] | None) -> Outputs | None:
    """Published responses: JSON Lines {prompt, response}, joined by the prompt; they need the data.

    Where a row says `follow_all_instructions`, as the authors' strict results do, that is its claim.
    """
    if path.is_dir() or not path.name.endswith((".jsonl", ".json", ".jsonl.gz")):
        return None
    read: list[tuple[str, dict[str, Any]]] = []
    for where, row in rows(path):
        if not read and (problems is None or not {"prompt", "response"} <= row.keys()):
            return None
        read.append((where, row))
    if not read or problems is None:
        return None
    by_prompt: dict[str, list[Problem]] = {}
    for problem in problems():
        by_prompt.setdefault(problem.item.question, []).append(problem)
    found: list[Stored] = []
    seen, unknown = set[str](), 0
    for where, row in read:
        prompt, response = text(row, "prompt", where), text(row, "response", where)
        if prompt in seen:
            raise UserError("a second response to the same prompt", where=where, fix="keep one of them")
        seen.add(prompt)
        unknown += prompt not in by_prompt
        claim = row.get("follow_all_instructions")
        claimed = float(claim) if isinstance(claim, bool) and "loose" not in path.name else None
        found += [Stored(problem, (Answer(response),), claimed=claimed) for problem in by_prompt.get(prompt, [])]
    if not found:
        fix = "give the benchmark's files that these responses answer"
        raise UserError("no response is to a prompt of the benchmark", where=str(path), fix=fix)
    notes = [f"{unknown:,} responses are to prompts that the data do not have: not scored"] if unknown else []
    return Outputs(found, VARIANTS[0], notes)


def published(scored: Scored) -> dict[str, Any]:
    """The accuracies in percent, instructions pooled over prompts, and by instruction.

    As the authors count, what has no value (empty, failed) follows nothing.
    """
    if not scored:
        return {}
    found: dict[str, Any] = {}
    for number, way in enumerate(("strict", "loose")):
        by_instruction: dict[str, list[bool]] = {}
        for problem, verdict in scored:
            followed = verdict.extracted.split("; ")[number].split(" ")[1:] if verdict.extracted else []
            asked: Sequence[Instruction] = problem.more["instructions"]
            for one, said in zip(asked, followed or ["no"] * len(asked), strict=True):
                by_instruction.setdefault(one.id, []).append(said == "yes")
        every = [ok for own in by_instruction.values() for ok in own]
        prompts = [verdict.values.get(f"prompt_{way}", 0.0) for _, verdict in scored]
        found[f"prompt_{way}"] = 100 * sum(prompts) / len(prompts)
        found[f"instruction_{way}"] = 100 * sum(every) / len(every)
        found[f"by_instruction_{way}"] = {
            name: 100 * sum(own) / len(own) for name, own in sorted(by_instruction.items())
        }
    return found


def _read(folder: Path) -> Iterator[tuple[str, dict[str, Any], Item]]:
    seen = set[str]()
    (path, *_) = locate(folder, "input_data.jsonl", "ifeval_input_data.jsonl")
    for where, row in rows(path):
        if "key" not in row:
            raise UserError("'key' is missing", where=where, fix=AGAIN)
        yield where, row, Item(unique(str(row["key"]), seen), text(row, "prompt", where))
