"""CPU seconds, peak memory and answers of one thread: caravan's local model beside lm-eval's, the same prompts.

    python benchmarks/evaluate_beside_lm_eval.py --model MODEL --data-dir DIR --lm-eval PYTHON [--questions 20] ...

MODEL is a Hugging Face folder (`smollm2.py` makes one), DIR holds the published files of `mmlu/` and `bbh/`, PYTHON is
an interpreter with lm-eval 0.4.13. MMLU is asked with 5 shots, by the likelihood of letters; BBH with its chains of
thought, at most 160 new tokens, stop at a blank line. Both read the prompts from one file; each run is a process of its
own on a single thread in fp32, and a run of a single item is subtracted from its seconds: start-up is not compared.

CPU seconds depend on the machine and on what else runs there: compare the ratios of one run.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NEW_TOKENS = 160
TIE = 1e-4  # of two log-probabilities; rounding is some 1e-5


@dataclass(frozen=True)
class Run:
    """What one process took, start-up taken off, and what it answered: log-probabilities or a text an item."""

    name: str
    seconds: float
    peak_gb: float
    answers: list[Any]
    near: frozenset[int] = frozenset()
    """Items that caravan marked as near ties, and asked again alone."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data-dir", required=True, type=Path)
    parser.add_argument("--lm-eval", required=True, metavar="PYTHON")
    parser.add_argument("--subjects", type=int, default=25)
    parser.add_argument("--questions", type=int, default=20, help="of each subject")
    parser.add_argument("--tasks", default="object_counting,navigate")
    parser.add_argument("--items", type=int, default=25, help="of each task")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        mmlu = mmlu_requests(given.data_dir / "mmlu", given.subjects, given.questions)
        if mmlu:
            found = measure(given, Path(folder), "mmlu", mmlu, [("caravan", 0), ("lm-eval", 1)])
            report("MMLU, 5 shots", mmlu, found)
        bbh = bbh_requests(given.data_dir / "bbh", [t for t in given.tasks.split(",") if t], given.items)
        if bbh:
            runs = [("caravan", given.items), ("lm-eval", given.items), ("lm-eval", 1)]
            report("BBH, chains of thought", bbh, measure(given, Path(folder), "bbh", bbh, runs))


def mmlu_requests(folder: Path, subjects: int, questions: int) -> list[dict[str, Any]]:
    """The first questions of every second subject."""
    from caravan.eval.benchmark import Setting
    from caravan.plugins import load

    module = load("benchmarks", "mmlu")
    groups: dict[str, list[Any]] = {}
    for problem in module.problems(folder, "5-shot"):
        groups.setdefault(problem.item.group, []).append(problem)
    chosen = [p for group in sorted(groups)[::2][:subjects] for p in groups[group][:questions]]
    return [_request(problem, module.ask(problem, Setting("5-shot"))) for problem in chosen]


def bbh_requests(folder: Path, tasks: Sequence[str], items: int) -> list[dict[str, Any]]:
    """The first items of each task."""
    from caravan.eval.benchmark import Setting
    from caravan.plugins import load

    module = load("benchmarks", "bbh")
    groups: dict[str, list[Any]] = {task: [] for task in tasks}
    variant = module.VARIANTS[0]
    for problem in module.problems(folder, variant):
        groups.get(problem.item.group, []).append(problem)
    chosen = [problem for task in tasks for problem in groups[task][:items]]
    return [_request(problem, module.ask(problem, Setting(variant))) for problem in chosen]


def _request(problem: Any, ask: Any) -> dict[str, Any]:
    from caravan.eval.rendering import plain

    return {
        "id": problem.item.id,
        "prompt": plain(ask),
        "choices": list(ask.choices),
        "new_tokens": 0 if ask.choices else NEW_TOKENS,
        "stop": list(ask.stop),
    }


def measure(
    given: argparse.Namespace, folder: Path, name: str, requests: list[dict[str, Any]], runs: list[tuple[str, int]]
) -> list[Run]:
    """Each run, and before it the run of a single item that is its start-up."""
    found = []
    for who, batch in runs:
        took = []
        for some in (requests[:1], requests):
            place = folder / f"{name}-{who}-{batch}-{len(some)}"
            place.mkdir()
            (place / "requests.json").write_text(json.dumps(some), encoding="utf-8")
            command = _caravan(given, place, batch) if who == "caravan" else _lm_eval(given, place, some[0], batch)
            took.append(_usage(command, place))
        (first, _), (seconds, peak) = took
        name_of_run = f"{who}, {f'batch {batch}' if batch else 'as it is'}"
        answers, near = _caravan_answers(place) if who == "caravan" else (_lm_eval_answers(place), ())
        found.append(Run(name_of_run, seconds - first, peak, answers, frozenset(near)))
        print(f"{name}: {found[-1].name} {seconds:.0f} s, of which start-up {first:.0f} s", file=sys.stderr, flush=True)
    return found


def _usage(command: Sequence[str], place: Path) -> tuple[float, float]:
    """CPU seconds and peak resident GB of a process."""
    told = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    told["HF_DATASETS_CACHE"] = str(place / "cache")
    with (place / "log").open("w") as log:
        process = subprocess.Popen(command, env=os.environ | told, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{(place / 'log').read_text()[-3000:]}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9


CARAVAN = """
import json, sys
from pathlib import Path
from caravan.eval.model import Request
from caravan.eval.models import local, memory
place, rows = Path(sys.argv[2]), int(sys.argv[3])
if rows:
    memory.CPU_ROWS = rows
model = local.open_model(sys.argv[1], form="plain", dtype="float32")
asked = [
    Request(r["prompt"], tuple(r["choices"]), r["new_tokens"], tuple(r["stop"]))
    for r in json.loads((place / "requests.json").read_text(encoding="utf-8"))
]
found = {n: answer for some in model.answers(asked, set()) for n, answer in some}
answers = [list(found[n].logprobs) or found[n].text for n in range(len(asked))]
near = [n for n in range(len(asked)) if found[n].near_tie]
(place / "answers.json").write_text(json.dumps({"answers": answers, "near": near}), encoding="utf-8")
"""


def _caravan(given: argparse.Namespace, place: Path, rows: int) -> list[str]:
    return [sys.executable, "-W", "ignore", "-c", CARAVAN, given.model, str(place), str(rows)]


def _caravan_answers(place: Path) -> tuple[list[Any], list[int]]:
    told: dict[str, list[Any]] = json.loads((place / "answers.json").read_text(encoding="utf-8"))
    return told["answers"], told["near"]


def _lm_eval(given: argparse.Namespace, place: Path, first: dict[str, Any], batch: int) -> list[str]:
    task: dict[str, Any] = {
        "task": "beside",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(place / "requests.json")}},
        "test_split": "test",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": 0 if first["choices"] else "",
        "num_fewshot": 0,
        "target_delimiter": "",
    }
    if first["choices"]:
        task |= {
            "output_type": "multiple_choice",
            "doc_to_choice": first["choices"],
            "metric_list": [{"metric": "acc"}],
        }
    else:
        kwargs = {"until": first["stop"], "max_gen_toks": first["new_tokens"], "do_sample": False}
        task |= {
            "output_type": "generate_until",
            "generation_kwargs": kwargs,
            "metric_list": [{"metric": "exact_match"}],
        }
    (place / "beside.yaml").write_text(json.dumps(task), encoding="utf-8")  # YAML reads JSON
    return [
        *(given.lm_eval, "-W", "ignore", "-m", "lm_eval", "run", "--model", "hf", "--tasks", "beside"),
        *("--model_args", f"pretrained={given.model},dtype=float32", "--device", "cpu", "--batch_size", str(batch)),
        *("--include_path", str(place), "--output_path", str(place / "out"), "--log_samples"),
    ]


def _lm_eval_answers(place: Path) -> list[Any]:
    (file,) = (place / "out").rglob("samples_*.jsonl")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    found = []
    for row in sorted(rows, key=lambda row: row["doc_id"]):
        first = row["resps"][0][0]
        found.append(first if isinstance(first, str) else [float(resp[0][0]) for resp in row["resps"]])
    return found


def report(title: str, requests: list[dict[str, Any]], runs: list[Run]) -> None:
    """The table, and each item on which two runs disagree."""
    ours, *others = runs
    near = [request["id"] for n, request in enumerate(requests) if n in ours.near]
    print(f"\n{title}: {len(requests)} items")
    print(f"{'run':<24}{'CPU s':>9}{'an item':>9}{'ratio':>7}{'peak GB':>9}{'same':>7}")
    for run in runs:
        same = sum(map(_same, ours.answers, run.answers))
        each = run.seconds / max(len(requests) - 1, 1)
        ratio = run.seconds / ours.seconds
        print(f"{run.name:<24}{run.seconds:>9.1f}{each:>9.3f}{ratio:>7.2f}{run.peak_gb:>9.2f}{same:>7}")
    print(f"near ties that caravan asked again alone: {', '.join(near) or 'none'}")
    for run in others:
        pairs = list(zip(requests, ours.answers, run.answers, strict=True))
        numbers = [abs(x - y) for _, a, b in pairs if isinstance(a, list) for x, y in zip(a, b, strict=True)]
        if numbers:
            print(f"{run.name}: largest difference of a log-probability {max(numbers):.1e}")
        for request, a, b in pairs:
            if not _same(a, b):
                print(f"{run.name}: {request['id']}: {_explained(a, b)}")


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, str):
        return bool(a == b)
    return max(range(len(a)), key=a.__getitem__) == max(range(len(b)), key=b.__getitem__)


def _explained(a: Any, b: Any) -> str:
    if isinstance(a, str):
        place = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        return f"texts part at character {place:,} of {len(a):,} and {len(b):,}: {a[place:][:20]!r}, {b[place:][:20]!r}"
    gaps = [math.dist(*([x] for x in sorted(values)[-2:])) for values in (a, b)]
    why = "a near tie" if min(gaps) < TIE else "NOT a near tie"
    return f"{why}: the best two lie {gaps[0]:.1e} and {gaps[1]:.1e} apart"


if __name__ == "__main__":
    main()
