"""caravan's local model beside lm-eval's, on the same prompts: answers item by item, CPU seconds, peak memory.

    python benchmarks/evaluate_beside_lm_eval.py --model FOLDER --data-dir BENCHMARKS --lm-eval PYTHON

MMLU, 5 shots: 25 subjects of 20 questions. BBH, chain of thought: 2 tasks of 25 questions, greedy, 160 new tokens, to
the first blank line. Both get the prompts that `evaluate` writes in plain form, one thread, fp32 on the CPU. Of each
run's CPU seconds those of a run with one item are taken off. PYTHON is an interpreter that has lm-eval (0.4.13).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUBJECTS, QUESTIONS, TASKS, PER_TASK, NEW_TOKENS = 25, 20, ("navigate", "object_counting"), 25, 160
STOP = "\n\n"
LETTERS = "ABCD"


@dataclass(frozen=True)
class Run:
    """One process: CPU seconds (user and system), peak resident memory in MB, and what it answered, by item."""

    seconds: float
    memory: float
    answers: list[Any]


def prompts(data_dir: str) -> dict[str, list[dict[str, Any]]]:
    """The prompts of both benchmarks, each with its gold."""
    from caravan.eval import rendering
    from caravan.eval.benchmark import Setting
    from caravan.eval.choose import load_problems

    found: dict[str, list[dict[str, Any]]] = {"mmlu": [], "bbh": []}
    subjects = Counter[str]()
    mmlu = load_problems("mmlu", "5-shot", data_dir)
    for problem in mmlu.problems:
        group = problem.item.group
        if (group in subjects or len(subjects) < SUBJECTS) and subjects[group] < QUESTIONS:
            subjects[group] += 1
            ask = mmlu.module.ask(problem, Setting("5-shot"))
            found["mmlu"].append({"prompt": rendering.plain(ask), "gold": LETTERS.index(problem.golds[0])})
    bbh = load_problems("bbh", "cot", data_dir)
    tasks = Counter[str]()
    for problem in bbh.problems:
        if problem.item.group in TASKS and tasks[problem.item.group] < PER_TASK:
            tasks[problem.item.group] += 1
            ask = bbh.module.ask(problem, Setting("cot"))
            found["bbh"].append({"prompt": rendering.plain(ask), "gold": problem.golds[0]})
    return found


def ours(model: str, name: str, rows: Path, out: Path, batch: int | None) -> None:
    """The child process: answer the prompts of a file."""
    import torch

    from caravan.eval.model import Request
    from caravan.eval.models import local

    torch.set_num_threads(1)
    if batch is not None:
        local.ROWS_CPU = batch
    asked = local.open_model(model, form="plain", dtype="float32")
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    if name == "mmlu":
        requests = [Request(line["prompt"], choices=tuple(f" {x}" for x in LETTERS)) for line in lines]
    else:
        requests = [Request(line["prompt"], new_tokens=NEW_TOKENS, stop=(STOP,)) for line in lines]
    found: dict[int, Any] = {}
    for some in asked.answers(requests, set()):
        found |= {number: [list(a.logprobs), a.text, a.near_tie] for number, a in some}
    out.write_text(json.dumps([found[n] for n in range(len(requests))]))


def measured(command: Sequence[str], log: Path) -> tuple[float, float]:
    """CPU seconds and peak memory in MB of a command, which must end well."""
    env = os.environ | {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
    }
    env |= {"TOKENIZERS_PARALLELISM": "false", "HF_DATASETS_CACHE": str(log.parent / "datasets")}
    with log.open("w") as said:
        process = subprocess.Popen(command, env=env, stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\n{log.read_text()[-3000:]}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1000


def run_ours(model: str, name: str, rows: list[dict[str, Any]], folder: Path, batch: int | None = None) -> Run:
    """All prompts by caravan, less the start."""
    times = []
    for part, label in ((rows[:1], "one"), (rows, "all")):
        file, out = folder / f"{name}-{label}.jsonl", folder / f"{name}-{label}.json"
        file.write_text("".join(json.dumps(row) + "\n" for row in part))
        command = [sys.executable, __file__, "--child", name, "--model", model, "--rows", str(file), "--out", str(out)]
        command += [] if batch is None else ["--batch", str(batch)]
        times.append(measured(command, folder / f"{name}-{label}.log"))
    return Run(times[1][0] - times[0][0], times[1][1], json.loads(out.read_text()))


def run_lm_eval(python: str, model: str, name: str, rows: list[dict[str, Any]], folder: Path, batch: int) -> Run:
    """All prompts by lm-eval, as a task of its own made on the spot, less the start."""
    folder = folder / f"lm-eval-{name}-{batch}"
    folder.mkdir()
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = [f"task: beside_{name}", "dataset_path: json", "test_split: test", 'doc_to_text: "{{prompt}}"']
    task += ["dataset_kwargs:", "  data_files:", f"    test: {data}"]
    if name == "mmlu":
        task += ["output_type: multiple_choice", "doc_to_target: gold", f"doc_to_choice: {json.dumps(list(LETTERS))}"]
        task += ['target_delimiter: " "', "metric_list:", "  - metric: acc"]
    else:
        task += ["output_type: generate_until", 'doc_to_target: "{{gold}}"', "metric_list:", "  - metric: exact_match"]
        task += ["generation_kwargs:", f"  until: {json.dumps([STOP])}", "  do_sample: false"]
        task += [f"  max_gen_toks: {NEW_TOKENS}"]
    (folder / "task.yaml").write_text("\n".join(task) + "\n")
    times = []
    for limit in (["--limit", "1"], []):
        out = folder / ("one" if limit else "all")
        command = [python, "-m", "lm_eval", "run", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32"]
        command += ["--tasks", f"beside_{name}", "--include_path", str(folder), "--batch_size", str(batch)]
        command += ["--device", "cpu", "--output_path", str(out), "--log_samples", *limit]
        times.append(measured(command, folder / f"{out.name}.log"))
    (samples,) = out.rglob("samples_*.jsonl")
    lines = sorted((json.loads(line) for line in samples.read_text().splitlines()), key=lambda line: line["doc_id"])
    if name == "mmlu":
        answers = [[float(choice[0][0]) for choice in line["resps"]] for line in lines]
    else:
        answers = [line["resps"][0][0] for line in lines]
    return Run(times[1][0] - times[0][0], times[1][1], answers)


def best(logprobs: Sequence[float]) -> int:
    """The likeliest choice, the first of equal ones."""
    return max(range(len(logprobs)), key=lambda n: (logprobs[n], -n))


def compare(found: dict[str, Run], rows: dict[str, list[dict[str, Any]]]) -> None:
    """Print what came of it."""
    mine, theirs = found["mmlu ours"].answers, found["mmlu lm-eval 1"].answers
    apart = [max(abs(a - b) for a, b in zip(x[0], y, strict=True)) for x, y in zip(mine, theirs, strict=True)]
    gaps = [sorted(y, reverse=True)[0] - sorted(y, reverse=True)[1] for y in theirs]
    other = [n for n, (x, y) in enumerate(zip(mine, theirs, strict=True)) if best(x[0]) != best(y)]
    right = sum(best(x[0]) == row["gold"] for x, row in zip(mine, rows["mmlu"], strict=True))
    print(
        f"MMLU: {len(mine) - len(other)} of {len(mine)} answers the same, {right} right; log-probabilities differ by",
        end=" ",
    )
    print(f"{max(apart):.1e} at most; the smallest lead of a best letter is {min(gaps):.1e}")
    for n in other:
        print(f"  item {n}: ours {mine[n][0]}, lm-eval {theirs[n]}, lead {gaps[n]:.1e}, near tie marked: {mine[n][2]}")
    for name in ("bbh lm-eval 12", "bbh lm-eval 1"):
        texts = found[name].answers
        differing = [n for n, (x, y) in enumerate(zip(found["bbh ours"].answers, texts, strict=True)) if x[1] != y]
        print(f"BBH: {len(texts) - len(differing)} of {len(texts)} texts are those of {name}")
        for n in differing:
            print(f"  item {n}: near tie marked: {found['bbh ours'].answers[n][2]}")
    print("\n| run | items | CPU s an item | lm-eval's / this | peak MB |\n|---|---:|---:|---:|---:|")
    for name, run in found.items():
        base = found["mmlu lm-eval 1" if name.startswith("mmlu") else "bbh lm-eval 12"]
        items = len(run.answers)
        print(
            f"| {name} | {items} | {run.seconds / items:.3f} | {base.seconds / run.seconds:.2f} | {run.memory:,.0f} |"
        )
    ratio = found["bbh lm-eval 1"].seconds / found["bbh ours"].seconds
    print(f"\nBBH against lm-eval's batch of 1: {ratio:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data-dir")
    parser.add_argument("--lm-eval", default=sys.executable)
    parser.add_argument("--items", type=int, help="only so many of each, to try the script")
    parser.add_argument("--child", choices=("mmlu", "bbh"), help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        ours(given.model, given.child, given.rows, given.out, given.batch)
        return
    rows = {name: part[: given.items] for name, part in prompts(given.data_dir).items()}
    found: dict[str, Run] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, batch in (("bbh", 12), ("bbh", 1), ("mmlu", 1)):
            if f"{name} ours" not in found:
                found[f"{name} ours"] = run_ours(given.model, name, rows[name], folder, 12 if name == "bbh" else None)
            found[f"{name} lm-eval {batch}"] = run_lm_eval(given.lm_eval, given.model, name, rows[name], folder, batch)
            print(f"{name}, batch {batch}: done", file=sys.stderr, flush=True)
    compare(found, rows)


if __name__ == "__main__":
    main()
