"""Pairs of answers to one prompt of which it is known which is better: by people, by models, or by construction.

people       pandalm (majority of three), tulu (the human sheet of Tülu 1), oasst (ranks among siblings)
models       alpaca_eval, alpaca_eval_2 (preferences of GPT-4 and GPT-4 Turbo), dpo_en, dpo_zh, dpo_zh_medical: not
             people's labels
construction swapped_*: a good answer against the answer to another prompt of the same set
             neighbour_*: a good answer against the answer to the most similar other prompt of its set, and only
             pairs whose wrong answer is no shorter: "the longer answer wins" is at best a tie on them
"""

import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

PEOPLE = ("pandalm", "tulu", "oasst")
MODELS = ("alpaca_eval", "alpaca_eval_2", "dpo_en", "dpo_zh", "dpo_zh_medical")
SWAPPED = ("pandalm", "oasst", "dolly", "alpaca", "alpaca_zh", "roleplay")
NEIGHBOURS = ("alpaca", "dolly", "code", "dolly_rest", "roleplay")
FRESH = ("alpaca_eval_2", "swapped_roleplay", "neighbour_dolly_rest", "neighbour_roleplay")  # never developed on
DERIVED = 400  # pairs of a set that is made, at most
SURE = 0.9  # probability of the side that a judge prefers
NEAREST = (0.15, 0.6)  # similarity of a neighbour's prompt: about the same thing, and not the same request


@dataclass(frozen=True)
class Pair:
    """Two answers to a prompt; `group` is what must not be split (a prompt, a tree); `before` the turns before."""

    set: str
    prompt: str
    better: str
    worse: str
    group: str
    before: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """A prompt (an instruction and perhaps what it is about) with an answer that is right for it."""

    instruction: str
    input: str
    answer: str

    @property
    def prompt(self) -> str:
        return f"{self.instruction}\n{self.input}" if self.input.strip() else self.instruction


def judged(data: Path) -> dict[str, list[Pair]]:
    """All sets by name, in the order of the module's list."""
    sets = {"pandalm": list(pandalm(data)), "tulu": list(tulu(data)), "oasst": list(oasst(data))}
    sets["alpaca_eval"] = list(alpaca_eval(data, "alpaca_eval", "alpaca_eval_gpt4"))
    sets["alpaca_eval_2"] = list(alpaca_eval(data, "alpaca_eval_2", "weighted_alpaca_eval_gpt4_turbo"))
    sets["dpo_en"] = list(preferences(data / "prefs/llamafactory/dpo_en_demo.json", "dpo_en"))
    sets["dpo_zh"] = list(preferences(data / "prefs/llamafactory/dpo_zh_demo.json", "dpo_zh"))
    sets["dpo_zh_medical"] = list(preferences(data / "prefs/medicalgpt/dpo_zh_500.jsonl", "dpo_zh_medical"))
    good = {
        "pandalm": list({p.prompt: Asked(p.prompt, "", p.better) for p in sets["pandalm"]}.values()),
        "oasst": list({p.prompt: Asked(p.prompt, "", p.better) for p in sets["oasst"] if not p.before}.values()),
        "dolly": _instructions(data / "dolly/alpagasus_dolly_3k.json"),
        "dolly_rest": _rest(data),
        "roleplay": _instructions(data / "alpaca/gpteacher_roleplay.json"),
        "alpaca": _instructions(data / "alpaca/alpagasus_random_9k.json"),
        "alpaca_zh": _instructions(data / "lang/alpaca/alpaca_zh_demo.json"),
        "code": _instructions(data / "alpaca/code_alpaca_2k.json") + _instructions(data / "alpaca/codealpaca_new.json"),
    }
    sets |= {f"swapped_{name}": swapped(f"swapped_{name}", good[name]) for name in SWAPPED}
    return sets | {f"neighbour_{name}": neighbours(f"neighbour_{name}", good[name]) for name in NEIGHBOURS}


def frame(pairs: list[Pair], side: str) -> pl.DataFrame:
    """The pairs with their `better` or `worse` answer as rows of caravan; earlier answers have no weight."""
    rows, tags = [], []
    for pair in pairs:
        turns = [*pair.before, pair.prompt, getattr(pair, side)]
        rows.append([{"role": "assistant" if i % 2 else "user", "content": t} for i, t in enumerate(turns)])
        weights = [*([0] * (len(turns) - 1)), 1]
        tags.append(json.dumps({"weights": weights}))
    message = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
    return pl.DataFrame({"messages": rows, "tags": tags}, schema={"messages": message, "tags": pl.String})


def pandalm(data: Path) -> Iterator[Pair]:
    """The test set of PandaLM, majority of three people: 894 of 999 decided."""
    for row in _read(data / "judged/pandalm/testset-v1.json"):
        vote, times = Counter(row[f"annotator{i}"] for i in (1, 2, 3)).most_common(1)[0]
        if vote and times > 1:
            asked = Asked(row["instruction"], row["input"] or "", "")
            yield Pair(
                "pandalm", asked.prompt, str(row[f"response{vote}"]), str(row[f"response{3 - vote}"]), asked.prompt
            )


def tulu(data: Path) -> Iterator[Pair]:
    """Judgements of the human sheet of Tülu 1 that prefer a side: 774 of 1,150."""
    import openpyxl

    book = openpyxl.load_workbook(data / "benchmarks/human_eval_tulu/eval_annotations_tulu_1.xlsx", read_only=True)
    lines = book.worksheets[0].iter_rows(values_only=True)
    head = next(lines)
    for line in lines:
        row = dict(zip(head, line, strict=True))
        side = str(row["preference"] or "")[:1]
        if row["id"] is not None and side in ("a", "b"):
            first, second = (str(row[f"completion_{s}"] or "") for s in (side, "ba"["ab".index(side)]))
            yield Pair("tulu", str(row["prompt"]), first, second, str(row["instance_id"]))
    book.close()


def oasst(data: Path) -> Iterator[Pair]:
    """Pairs of ranked replies to one message: 1,026, all in English."""
    rows = {row["message_id"]: row for row in _read(data / "judged/oasst1/en-validation.jsonl")}
    replies = defaultdict(list)
    for row in rows.values():
        if row["role"] == "assistant" and row["rank"] is not None:
            replies[row["parent_id"]].append(row)
    for parent, siblings in replies.items():
        turns: list[str] = []
        at = parent
        while at in rows:
            turns.insert(0, rows[at]["text"])
            at = rows[at]["parent_id"]
        for first, second in combinations(sorted(siblings, key=lambda row: int(row["rank"])), 2):
            yield Pair(
                "oasst",
                turns[-1] if turns else "",
                first["text"],
                second["text"],
                first["message_tree_id"],
                tuple(turns[:-1]) if len(turns) % 2 else (),
            )


def alpaca_eval(data: Path, name: str, judge: str) -> Iterator[Pair]:
    """A judge's preferences among published answers to AlpacaEval: a sample of those that it is sure of."""
    rows = []
    for path in sorted((data / "benchmarks/alpaca_eval/results").rglob(f"{judge}/annotations.json")):
        rows += [row for row in _read(path) if row["preference"] and abs(row["preference"] - 1.5) > SURE - 0.5]
    for row in random.Random(7).sample(rows, min(3 * DERIVED, len(rows))):
        better = 1 if row["preference"] < 1.5 else 2
        first, second = row[f"output_{better}"], row[f"output_{3 - better}"]
        yield Pair(name, row["instruction"], first, second, row["instruction"])


def preferences(path: Path, name: str) -> Iterator[Pair]:
    """A set of chosen and rejected answers as it comes with trainers."""
    for row in _read(path):
        turns = [turn["value"] for turn in row["conversations"]]
        before = tuple(turns[:-1]) if len(turns) % 2 else ()
        sides = [row[key] if isinstance(row[key], str) else row[key]["value"] for key in ("chosen", "rejected")]
        yield Pair(name, turns[-1], sides[0], sides[1], turns[-1], before)


def swapped(name: str, good: list[Asked]) -> list[Pair]:
    """Each answer of a sample against the answer of the one before it in the sample."""
    chosen = random.Random(7).sample(good, min(DERIVED, len(good)))
    found = [Pair(name, a.prompt, a.answer, chosen[i - 1].answer, a.prompt) for i, a in enumerate(chosen)]
    return [pair for pair in found if pair.better != pair.worse]


def neighbours(name: str, good: list[Asked]) -> list[Pair]:
    """Each answer against that of the nearest other prompt, where that one is no shorter; a sample of these.

    Nearest is by cosine of TF-IDF over the words of prompts, among those within `NEAREST` whose words are not all
    the same but for numbers.
    """
    from scipy.sparse import csr_array

    words = [re.findall(r"[^\W\d_]{2,}", asked.prompt.lower()[:2000]) for asked in good]
    vocabulary = {word: i for i, word in enumerate(sorted({word for some in words for word in some}))}
    counts = [Counter(vocabulary[word] for word in some) for some in words]
    often = np.bincount([i for some in counts for i in some], minlength=len(vocabulary))
    rare = np.log(len(good) / np.maximum(often, 1))
    at = np.cumsum([0, *[len(some) for some in counts]])
    columns = np.array([i for some in counts for i in some])
    values = np.log1p([times for some in counts for times in some.values()]) * rare[columns]
    table = csr_array((values, columns, at), shape=(len(good), len(vocabulary)))
    norms = np.sqrt((table * table).sum(axis=1))
    found = []
    for i in random.Random(7).sample(range(len(good)), min(4 * DERIVED, len(good))):
        alike = np.asarray((table @ table[[i], :].T).todense()).ravel() / np.maximum(norms * norms[i], 1e-9)
        alike[(alike > NEAREST[1]) | (alike < NEAREST[0])] = 0
        nearest = int(alike.argmax())
        mine, other = good[i], good[nearest]
        if alike[nearest] and len(other.answer) >= len(mine.answer) and mine.answer != other.answer:
            found.append(Pair(name, mine.prompt, mine.answer, other.answer, mine.prompt))
    return found[:DERIVED]


def judges(data: Path) -> dict[str, float]:
    """How many of PandaLM's 894 decided pairs its published judges get right; a tie of theirs counts half."""
    rows = _read(data / "judged/pandalm/testset-v1.json")
    found = {}
    for name, key in (("pandalm-7b", "pandalm_result"), ("gpt-3.5-turbo", "gpt_result")):
        told = {row["idx"]: row for row in _read(data / f"judged/pandalm/{name}-testset-v1.json")}
        right = 0.0
        for row in rows:
            vote, times = Counter(row[f"annotator{i}"] for i in (1, 2, 3)).most_common(1)[0]
            if vote and times > 1:
                said = str(told[row["idx"]][key]).strip("'\"")
                right += 1.0 if said == str(vote) else 0.0 if said == str(3 - vote) else 0.5
        found[name] = right
    return found


def _rest(data: Path) -> list[Asked]:
    """Dolly without the three thousand rows of the set "dolly"."""
    known = {asked.instruction for asked in _instructions(data / "dolly/alpagasus_dolly_3k.json")}
    parts = [asked for path in sorted((data / "dolly").glob("partition_*.json")) for asked in _instructions(path)]
    return [asked for asked in parts if asked.instruction not in known]


def _instructions(path: Path) -> list[Asked]:
    rows = _read(path)
    about, answer = (
        ("context" if "context" in rows[0] else "input"),
        ("response" if "response" in rows[0] else "output"),
    )
    found = [Asked(row["instruction"], row[about] or "", row[answer]) for row in rows]
    return list({asked.prompt: asked for asked in found if asked.answer.strip() and asked.instruction.strip()}.values())


def _read(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    rows = (
        [json.loads(line) for line in text.split("\n") if line.strip()] if path.suffix == ".jsonl" else json.loads(text)
    )
    return list(rows)
