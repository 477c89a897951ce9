"""HumanEval: 164 Python functions to be written from signature and docstring; `HumanEval.jsonl`, also gzipped.

Ids are the data's own (`HumanEval/3`). A program is right when the item's own tests run through, in a sandbox
(`sandbox.py`); pass@k is the unbiased estimate 1 - C(n-c, k)/C(n, k) from n samples, c of them right (Chen et al.,
2021, arXiv 2107.03374).

| protocol | samples, temperature (for `pass@10`) | chat form | program |
|---|---|---|---|
| `tulu` | 20, 0.1 (0.8) | the published sentence, code | prompt + output |
| `original` | 200, 0.2 (0.8) | as `tulu` | prompt + output |
| `strict` | 1, greedy (20, 0.8) | one code block is asked for, and opened | see `program` |

The fault that the closing fence is lost as a stop string is not reproduced. In `strict` an output may also be the whole
function, or a code block among words: stored outputs of chat models are.
"""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import comb
from os import cpu_count
from pathlib import Path
from typing import Any, Literal

from caravan.eval.benchmark import Answer, Ask, Item, Problem, Setting, Verdict
from caravan.eval.files import locate, rows, text, unique
from caravan.eval.scoring.sandbox import Outcome, run_program

VERSION = 1
HUB = "openai/openai_humaneval"
LICENCE = "MIT"
VARIANTS = ("pass@1", "pass@10")
METRICS = ("pass@1", "pass@10")
AVERAGE: Literal["micro", "macro"] = "micro"
RUNS_CODE = True

STOPS: tuple[str, ...] = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
FENCE = "\n```"
SAMPLING = {
    ("tulu", "pass@1"): (20, 0.1),
    ("tulu", "pass@10"): (20, 0.8),
    ("original", "pass@1"): (200, 0.2),
    ("original", "pass@10"): (200, 0.8),
    ("strict", "pass@1"): (1, 0.0),
    ("strict", "pass@10"): (20, 0.8),
}
BLOCK = re.compile(r"```[ \t]*(?:python|py)?[ \t]*\n(.*?)(?:\n```|\Z)", re.S | re.I)


def items(folder: Path) -> Iterator[Item]:
    """The prompts in the published order, each with its canonical solution."""
    return (item for _, _, item in _read(folder))


def problems(folder: Path, variant: str) -> Iterator[Problem]:
    """The problems, each with its tests and the name that they call; a variant says how many samples are drawn."""
    for where, row, item in _read(folder):
        more = {"test": text(row, "test", where), "entry_point": text(row, "entry_point", where)}
        yield Problem(item, (item.answer,), more=more)


def ask(problem: Problem, setting: Setting) -> Ask:
    """The prompt to be continued; in chat form the answer is begun with it."""
    code = problem.item.question
    samples, temperature = SAMPLING[setting.protocol, setting.variant]
    if setting.protocol == "strict":
        request = f"Complete the following Python function. Give the whole function in one code block.\n\n{code}"
        opener, chat_stop = f"```python\n{code}", (*STOPS, FENCE)
    else:
        request = f"Complete the following python function.\n\n\n{code}"
        opener, chat_stop = f"Here is the completed function:\n\n\n{code}", STOPS
    return Ask(
        request,
        opener=opener,
        plain=code,
        new_tokens=512,
        stop=STOPS,
        chat_stop=chat_stop,
        temperature=temperature,
        top_p=0.95 if temperature else 1.0,
        samples=samples,
    )


def score(problem: Problem, answers: Sequence[Answer], setting: Setting) -> Verdict:
    """pass@1 and, from ten samples on, pass@10. Samples that failed to come are left out of n."""
    came = [answer for answer in answers if answer.ended != "failed"]
    if not came:
        return Verdict("failed", rule="no sample came")
    if setting.protocol == "strict" and not any(answer.text.strip() for answer in came):
        return Verdict("empty", rule="every sample is empty")
    programs = [program(problem, answer.text, setting) for answer in came]
    with ThreadPoolExecutor(max(1, min(len(programs), cpu_count() or 1))) as pool:
        outcomes = list(pool.map(run_program, programs))
    right = sum(outcome.ended == "passed" for outcome in outcomes)
    values = {f"pass@{k}": pass_at(k, len(came), right) for k in (1, 10) if len(came) >= k}
    return Verdict("scored", values, f"{right} of {len(came)} right", _said(outcomes))


def pass_at(k: int, n: int, right: int) -> float:
    """The chance that one of k samples is right, estimated from n of which `right` are."""
    return 1 - comb(n - right, k) / comb(n, k)


def program(problem: Problem, output: str, setting: Setting) -> str:
    """The whole program: prompt, output, tests.

    `strict` takes an output's first code block if it has one; where that defines the function itself, only what stands
    before the function in the prompt is kept (imports, helpers), else it continues the prompt.
    """
    prompt, name = problem.item.question, problem.more["entry_point"]
    if setting.protocol == "strict":
        block = BLOCK.search(output)
        output = block[1] if block else output
        if re.search(rf"^def {re.escape(name)}\b", output, re.M):
            prompt = prompt[: max(prompt.rfind(f"def {name}"), 0)]
    return f"{prompt}{output}\n{problem.more['test']}\ncheck({name})\n"


def _said(outcomes: Sequence[Outcome]) -> str:
    first = next((outcome for outcome in outcomes if outcome.ended != "passed"), None)
    return "tests run" if first is None else f"tests run; the first that failed: {first.ended} {first.detail}".strip()


def _read(folder: Path) -> Iterator[tuple[str, dict[str, Any], Item]]:
    seen = set[str]()
    (path, *_) = locate(folder, "HumanEval.jsonl", "HumanEval.jsonl.gz", "test-*.parquet")
    for where, row in rows(path):
        name = unique(text(row, "task_id", where), seen)
        yield where, row, Item(name, text(row, "prompt", where), text(row, "canonical_solution", where))
