"""One run: benchmarks asked of a model, every answer kept as it arrives, scores at the end.

The folder of a run holds `run.json` (what is asked, of which model), `answers/` (Parquet files, one for each handful
of answers) and, when all are there, `items.parquet` and `scores.json`. A run that was killed goes on: what was
answered is not asked again, and the final files are the bytes that an undisturbed run writes.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from caravan.cache import written_aside
from caravan.errors import UserError
from caravan.eval import clean, scores
from caravan.eval.answers import keep, read
from caravan.eval.benchmark import Answer, Ask, Problem, Rules, Setting, Verdict
from caravan.eval.choose import Chosen, sample
from caravan.eval.folder import held
from caravan.eval.items import SCHEMA, item_row
from caravan.eval.model import Model, Prompts, Request
from caravan.eval.toxicity import Reader, toxicity_reader
from caravan.terminal import Progress

RUN, ANSWERS, ITEMS, SCORES = "run.json", "answers", "items.parquet", "scores.json"
FLUSH = 2.0  # seconds between files of answers: what a killed run may lose, beside the batch that it was at
PATIENCE = timedelta(days=7)  # a process with short answers waits long for one whose answers are long
TULU_TOKENS = 2048  # the published scripts take shots away above this


@dataclass(frozen=True)
class Asked:
    """One benchmark as it is asked: for each problem its form and prompt, and where its requests begin."""

    chosen: Chosen
    problems: list[Problem]
    asks: list[Ask]
    prompts: list[str]
    requests: list[Request]

    @property
    def prompt_hash(self) -> str:
        """A hash over all prompts, choices and limits."""
        h = blake2b(digest_size=16)
        for request in self.requests:
            h.update(repr(request).encode())
        return h.hexdigest()

    def answered(self, answers: Sequence[Answer]) -> Iterator[tuple[Problem, list[Answer]]]:
        """Each problem with its own answers."""
        start = 0
        for problem, ask in zip(self.problems, self.asks, strict=True):
            yield problem, list(answers[start : start + ask.samples])
            start += ask.samples


@dataclass(frozen=True)
class Evaluated:
    """What came of a run."""

    folder: Path
    model: str
    scores: list[dict[str, Any]]


def prepare(model: Prompts, chosen: Chosen, setting: Setting, limit: int) -> Asked:
    """The prompts of a benchmark: problems sampled, shots taken away one by one where a prompt is too long."""
    per_group = getattr(chosen.module, "TULU_SAMPLE", 0) if setting.protocol == "tulu" and not limit else 0
    problems, asks, prompts, requests = [], [], [], []
    for problem in sample(chosen, per_group, limit):
        fitted, ask, prompt = _fitted(model, chosen, problem, setting)
        problems.append(fitted)
        asks.append(ask)
        prompts.append(prompt)
        for number in range(ask.samples):
            seed = int(blake2b(f"{problem.item.id} {number}".encode(), digest_size=6).hexdigest(), 16)
            sampling = (ask.temperature, ask.top_p, seed)
            requests.append(Request(prompt, ask.choices, ask.new_tokens, model.stops(ask), *sampling))
    return Asked(chosen, problems, asks, prompts, requests)


def _fitted(model: Prompts, chosen: Chosen, problem: Problem, setting: Setting) -> tuple[Problem, Ask, str]:
    while True:
        ask = chosen.module.ask(problem, setting)
        prompt = model.render(ask)
        room = _room(model, ask, setting)
        # A token is at least one byte, so a short prompt needs no counting.
        if room is None or not problem.shots or len(prompt.encode()) <= room or len(model.tokens(prompt)) <= room:
            return problem, ask, prompt
        problem = replace(problem, shots=problem.shots[:-1])


def _room(model: Prompts, ask: Ask, setting: Setting) -> int | None:
    """Tokens that a prompt may have."""
    room = None if model.context is None else model.context - max(ask.new_tokens, 1)
    if setting.protocol == "tulu" and ask.choices:
        return TULU_TOKENS if room is None else min(TULU_TOKENS, room)
    return room


def evaluate(
    model: Model,
    benchmarks: Sequence[Chosen],
    out: Path,
    *,
    protocol: Rules = "strict",
    limit: int = 0,
    run_code: bool = False,
    classifier: str | None = None,
    mix: str | None = None,
    rank: int = 0,
    world: int = 1,
    progress: Progress | None = None,
) -> Evaluated:
    """Ask benchmarks of a model, or go on where an earlier run of the same stopped; write items and scores to `out`.

    `limit`: items of each benchmark (0: all). `classifier`: who judges texts (see `toxicity_reader`)
    where a benchmark asks for one. `mix`: a mixture; every score is also given without the items that leaked into it.
    With `world` processes each answers its share, and the first writes the scores.
    Raises `UserError` for bad input, and when `out` holds another run.
    """
    progress = progress or Progress(quiet=True)
    for chosen in benchmarks:
        if getattr(chosen.module, "RUNS_CODE", False) and not run_code:
            fix = "add --run-code: programs that the model wrote are run, in a sandbox"
            raise UserError(f"{chosen.name} is off by default", fix=fix)
    if mix is not None:
        clean.mixture(mix)  # what is missing is said before anything is asked
    toxic = any(getattr(chosen.module, "JUDGED_BY", "") == "classifier" for chosen in benchmarks)
    reader = toxicity_reader(classifier, progress) if toxic and not rank else None
    asked = []
    for chosen in progress.track(benchmarks, "prompts", len(benchmarks), "benchmarks"):
        setting = Setting(chosen.variant, protocol, model.cut, run_code)
        asked.append((prepare(model, chosen, setting, limit), setting))
    about = _about(model, [one for one, _ in asked], protocol)
    with nullcontext() if rank else held(out, RUN, about, "run"):  # the first process of a group holds it
        _meet(world)
        for one, _ in asked:
            _answer(model, one, out, progress)
        _meet(world)
        if rank:
            return Evaluated(out, model.name, [])
        leaked = clean.leaked_items(mix, benchmarks, progress) if mix is not None else None
        found = []
        for one, setting in asked:
            answers = _judged(one, _in_order(one, out), out, reader)
            found.append(_scored(model, one, setting, answers, leaked, progress))
        _write(out, model, protocol, found)
    return Evaluated(out, model.name, [told for told, _ in found])


def _about(model: Model, asked: Sequence[Asked], protocol: Rules) -> dict[str, Any]:
    """What a run is begun for: with anything else its folder is another run's."""
    return {
        "model": model.name,
        "identity": model.identity,
        "protocol": protocol,
        "benchmarks": {a.chosen.label: {"prompts": a.prompt_hash, "items": len(a.problems)} for a in asked},
    }


def _answer(model: Model, asked: Asked, out: Path, progress: Progress) -> None:
    """Ask what has no answer yet; each handful of answers is a file that is there whole or not at all."""
    label, folder = asked.chosen.label, _folder(out, asked)
    folder.mkdir(parents=True, exist_ok=True)
    done = {number for number, answer in read(folder).items() if answer.ended != "failed"}
    if len(done) == len(asked.requests):
        return
    if done:
        progress.say(f"{label}: {len(done):,} of {len(asked.requests):,} were answered before")
    left = len(asked.requests) - len(done)
    waiting: list[tuple[int, Answer]] = []
    written = time.monotonic()
    for some in progress.track(model.answers(asked.requests, done), label, left, "answers", len):
        waiting += some
        if time.monotonic() - written > FLUSH:
            keep(waiting, folder)
            waiting, written = [], time.monotonic()
    keep(waiting, folder)


def _folder(out: Path, asked: Asked) -> Path:
    return out / ANSWERS / asked.chosen.label.replace(":", "-")


def _in_order(asked: Asked, out: Path) -> list[Answer]:
    """The answers to all requests."""
    found = read(_folder(out, asked))
    return [found[number] for number in range(len(asked.requests))]


def _meet(world: int) -> None:
    """Wait until all processes are here."""
    if world > 1:
        import torch.distributed as dist

        if not dist.is_initialized():
            dist.init_process_group("gloo", timeout=PATIENCE)
        dist.barrier()


def _judged(asked: Asked, answers: list[Answer], out: Path, reader: Reader | None) -> list[Answer]:
    """The answers with what a classifier says of them, or `evaluate judge` said before, where the benchmark asks."""
    judged_by = getattr(asked.chosen.module, "JUDGED_BY", "")
    if judged_by == "pairs":
        return _judged_before(asked, answers, out / ITEMS)
    if judged_by != "classifier":
        return answers
    if reader is None:
        return answers
    said = reader([a.text for a in answers])
    return [replace(answer, judged=value) for answer, value in zip(answers, said, strict=True)]


def _judged_before(asked: Asked, answers: list[Answer], items: Path) -> list[Answer]:
    """The answers with the verdicts that a judge has written into the run's items, where the text is the same."""
    if not items.exists():
        return answers
    rows = pq.read_table(items, columns=["benchmark", "id", "outputs", "judged"]).to_pylist()
    own = [row for row in rows if row["benchmark"] == asked.chosen.name]
    said = {(r["id"], text): value for r in own for text, value in zip(r["outputs"], r["judged"], strict=True)}
    pairs = ((problem.item.id, one) for problem, some in asked.answered(answers) for one in some)
    return [replace(one, judged=said.get((name, one.text))) for name, one in pairs]


def _scored(
    model: Model,
    asked: Asked,
    setting: Setting,
    answers: Sequence[Answer],
    leaked: dict[str, set[str]] | None,
    progress: Progress,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The score of a benchmark, and the rows of its items."""
    chosen = asked.chosen
    rows, scored = [], list[tuple[Problem, Verdict]]()
    pairs, headline = list(asked.answered(answers)), scores.headline_of(chosen.module, chosen.variant)
    for number, (problem, own) in enumerate(progress.track(pairs, f"{chosen.label}: scores", len(pairs), "items")):
        verdict = chosen.module.score(problem, own, setting)
        scored.append((problem, verdict))
        prompt = asked.prompts[number]
        rows.append(
            item_row(chosen.name, setting, problem, own, verdict, headline)
            | {
                "shots": len(problem.shots),
                "prompt_tokens": len(model.tokens(prompt)) or None,
                "prompt_hash": blake2b(prompt.encode(), digest_size=8).hexdigest(),
            }
        )
    told = scores.score(chosen.module, scored, name=chosen.name, variant=chosen.variant, protocol=setting.protocol)
    ids = model.tokens(asked.prompts[0])
    told |= {
        "prompt_hash": asked.prompt_hash,
        "data_hash": chosen.data_hash,
        "version": chosen.module.VERSION,
        "embedded": chosen.embedded,
        "notes": list(chosen.notes),
        "of": len(chosen.problems),
        "truncated": sum(any(a.ended == "length" for a in own) for _, own in pairs),
        "near_ties": sum(any(a.near_tie for a in own) for _, own in pairs),
        "shots": {str(n): sum(r["shots"] == n for r in rows) for n in sorted({r["shots"] for r in rows}, reverse=True)},
        "first_tokens": ids[: scores.EDGE],
        "last_tokens": ids[-scores.EDGE :],
    }
    if leaked is not None:
        valued = [(p, v.values[told["metric"]]) for p, v in scored if told["metric"] in v.values]
        told["clean"] = clean.clean_score(valued, leaked[chosen.name], chosen.module.AVERAGE)
    return told, rows


def _write(
    out: Path, model: Model, protocol: Rules, found: Sequence[tuple[dict[str, Any], list[dict[str, Any]]]]
) -> None:
    rows = [row for _, rows in found for row in rows]
    with written_aside(out / ITEMS) as aside:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), aside)
    before = _length_adjusted(out)
    told = [t | {"length_adjusted": before[t["benchmark"]]} if t["benchmark"] in before else t for t, _ in found]
    write_scores(out, {"model": model.name, "identity": model.identity, "protocol": protocol}, told)


def _length_adjusted(out: Path) -> dict[str, Any]:
    """What a judge's verdicts gave before, which stand in the items again."""
    try:
        scores_before = json.loads((out / SCORES).read_text(encoding="utf-8"))["scores"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {told["benchmark"]: told["length_adjusted"] for told in scores_before if "length_adjusted" in told}


def write_scores(out: Path, about: dict[str, Any], found: Sequence[dict[str, Any]]) -> None:
    """Write `scores.json`: what was asked of whom, and the scores in the order asked."""
    with written_aside(out / SCORES) as aside:
        text = json.dumps({**about, "scores": list(found)}, indent=2, ensure_ascii=False, sort_keys=True)
        aside.write_text(text + "\n", encoding="utf-8")
