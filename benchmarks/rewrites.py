"""Rewritten items, variants and clean rows: what the contamination filter makes of them, beside two simpler rules.

    python benchmarks/rewrites.py --data FOLDER [--write]

The data: decontaminator's rewrites of HumanEval and of two subjects of MMLU, GSM-Plus (testmini), GSM-hard, MGSM,
HumanEval-X, an Arabic MMLU; as clean rows instruction sets, the training problems of GSM8K, ASDiv, and MMLU's dev and
val. The rules beside are the cosine of TF-IDF of character 3-to-5-grams (scikit-learn, fitted on the items) from 0.5
and 0.6 on, and any common 8-gram of words; they look at the first message of a row, and of
clean rows at every fourth.

Nothing planted here is held out: the settings were chosen while all planted rows and most clean rows were measured
again and again, until the pooled share and the clean rows were where they should be. Clean rows that were measured only
afterwards are named "unseen".
"""

import argparse
import csv
import gzip
import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from tables import into, markdown, share, written_with

from caravan.converters.schema import Example, arrow_schema
from caravan.curate.benchmarks import load_items
from caravan.curate.filters import contamination
from caravan.curate.words import grams, words

NAMES = ("gsm8k", "humaneval", "mmlu")
EVERY = 4  # of clean rows so many are given to the rules beside: the cosine is slow
SUBJECTS = ("abstract_algebra", "high_school_us_history")


class Planted(NamedTuple):
    """A row, and the benchmark and id of the item that it was made from."""

    messages: list[str]
    benchmark: str
    item: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder with benchmarks/, rewrites/ and raw sets")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/filters/contamination.md")
    options = parser.parse_args()
    parts = []
    for part in report(options.data):
        print(part, end="\n\n", flush=True)
        parts.append(part)
    if options.write:
        into("filters/contamination.md", "rewrites", "\n\n".join(parts))


def report(data: Path) -> Iterator[str]:
    """The tables, as Markdown."""
    whole = str(data / "benchmarks")
    peers = Peers(whole)
    yield "Rows made from an item, and what the filter finds of the item:"
    yield markdown(PLANTED_HEAD, [planted(name, rows, whole, peers) for name, rows in rewrites(data)])
    yield "Rewritten in the same language (the first five above), as the filter and the rules beside it find them:"
    yield markdown(POOLED_HEAD, list(pooled(data, whole, peers)))
    alone = ",".join(f"{name}={data / 'benchmarks' / name}" for name in NAMES)
    yield "Other languages and other programming languages, compared with GSM8K, HumanEval and MMLU alone:"
    few = Peers(alone)
    yield markdown(PLANTED_HEAD, [planted(name, rows, alone, few) for name, rows in translations(data)])
    yield "Rows that hold no item on purpose:"
    yield markdown(CLEAN_HEAD, [cleaned(name, rows, whole, peers) for name, rows in clean(data)])
    yield f"With {written_with('numpy', 'numba', 'scikit-learn')}."


PLANTED_HEAD = ("made from items", "rows", "leak", "suspected", "variant", "of these none", "nearest by TF-IDF")
POOLED_HEAD = ("rows", "number", "found", "TF-IDF 0.6", "TF-IDF 0.5", "8-gram")
CLEAN_HEAD = ("rows", "number", "leak", "suspected besides", "variant", "TF-IDF 0.6", "TF-IDF 0.5", "8-gram", "CPU s")


class Peers:
    """The two simpler rules; the cosine is left out where scikit-learn is not installed."""

    def __init__(self, choice: str) -> None:
        loaded = load_items(choice)
        self.names = [(one.name, item.id) for one in loaded for item in one.items]
        questions = [item.question for one in loaded for item in one.items]
        self.grams = np.unique(grams(words(questions), 8).values)
        self.fitted: Any = None
        try:
            features = import_module("sklearn.feature_extraction.text")
        except ImportError:
            return
        self.fitted = features.TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, min_df=2)
        self.matrix = self.fitted.fit_transform(questions).T.tocsr()

    def nearest(self, texts: Sequence[str]) -> list[tuple[float, tuple[str, str]]]:
        """The cosine of the most similar item, and which it is."""
        found = []
        for start in range(0, len(texts), 256):
            cosine = self.fitted.transform(texts[start : start + 256]) @ self.matrix
            best = np.asarray(cosine.argmax(axis=1)).ravel()
            found += [(float(cosine[n, b]), self.names[b]) for n, b in enumerate(best.tolist())]
        return found

    def eight(self, texts: Sequence[str]) -> int:
        """How many texts share eight words in a row with an item."""
        made = grams(words(texts), 8)
        hit = np.isin(made.values, self.grams)
        return len(np.unique(np.repeat(np.arange(len(texts)), np.diff(made.offsets))[hit]))


def planted(name: str, rows: list[Planted], choice: str, peers: Peers) -> list[str]:
    kinds = Counter(kind(found, row) for found, row in zip(measured(rows, choice), rows, strict=True))
    near = "-"
    if peers.fitted is not None:
        nearest = peers.nearest([row.messages[0] for row in rows])
        texts = dict(questions(choice))
        same = sum(texts[b] == texts[row.benchmark, row.item] for (_, b), row in zip(nearest, rows, strict=True))
        near = share(same, len(rows))
    counts = [share(kinds[k], len(rows)) for k in ("leak", "suspected", "variant", "none")]
    return [name, f"{len(rows):,}", *counts, near]


def pooled(data: Path, choice: str, peers: Peers) -> Iterator[list[str]]:
    sets = dict(rewrites(data))
    by_set = [(name, sets[name]) for name in SAME]
    for label, some in [*by_set, ("all", [row for _, rows in by_set for row in rows])]:
        found = sum(kind(f, row) in ("leak", "suspected") for f, row in zip(measured(some, choice), some, strict=True))
        texts = [row.messages[0] for row in some]
        cosine = [c for c, _ in peers.nearest(texts)] if peers.fitted is not None else []
        yield [
            label,
            f"{len(some):,}",
            share(found, len(some)),
            *(share(sum(c >= limit for c in cosine), len(cosine)) for limit in (0.6, 0.5)),
            share(peers.eight(texts), len(some)),
        ]


def cleaned(name: str, rows: list[list[str]], choice: str, peers: Peers) -> list[str]:
    batch = frame(rows)
    begin = time.process_time()
    found = contamination.measure(batch, contamination.Settings(benchmarks=choice))
    seconds = time.process_time() - begin
    leak = found["contamination_max"] >= contamination.Limits().coverage
    suspected = (found["contamination_suspected"] > 0) & ~leak
    variant = sum(any(m["kind"] == "variant" for m in row) for row in found["contamination"].to_list())
    texts = [row[0] if row else "" for row in rows[::EVERY]]
    cosine = [c for c, _ in peers.nearest(texts)] if peers.fitted is not None else []
    return [
        name,
        f"{len(rows):,}",
        *(share(int(n), len(rows)) for n in (leak.sum(), suspected.sum(), variant)),
        *(share(sum(c >= limit for c in cosine), len(cosine)) for limit in (0.6, 0.5)),
        share(peers.eight(texts), len(texts)),
        f"{seconds:.2f}",
    ]


def kind(found: list[dict[str, Any]], row: Planted) -> str:
    """What the filter says of the item that a row was made from."""
    mine = [m for m in found if (m["benchmark"], m["item"]) == (row.benchmark, row.item)]
    limit = contamination.Limits().coverage
    if any(m["kind"] in ("verbatim", "edited") and m["coverage_item"] >= limit for m in mine):
        return "leak"
    kinds = {m["kind"] for m in mine}
    return "suspected" if "rewritten" in kinds else "variant" if "variant" in kinds else "none"


def measured(rows: Sequence[Planted], choice: str) -> list[list[dict[str, Any]]]:
    batch = frame([row.messages for row in rows])
    found = contamination.measure(batch, contamination.Settings(benchmarks=choice))["contamination"].to_list()
    return list(found)


def frame(rows: Sequence[Sequence[str]]) -> pl.DataFrame:
    """Rows of messages, user and assistant by turns, with the columns of an example."""
    roles = ("user", "assistant")
    examples = [
        {
            "messages": [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)],
            "id": str(number),
            "source": "",
            "tags": "{}",
            "provenance": {"file": "", "row": number, "rows": [number], "own_id": None, "fields": []},
            "licence": "",
        }
        for number, texts in enumerate(rows, 1)
    ]
    return pl.DataFrame(examples, schema=pl.DataFrame(arrow_schema(Example).empty_table()).schema)


def questions(choice: str) -> Iterator[tuple[tuple[str, str], str]]:
    for loaded in load_items(choice):
        for item in loaded.items:
            yield (loaded.name, item.id), item.question


SAME = (
    "GSM-Plus, problem understanding",
    "GSM-Plus, distraction insertion",
    "decontaminator, HumanEval in Python",
    *(f"decontaminator, MMLU {subject}" for subject in SUBJECTS),
)


def rewrites(data: Path) -> Iterator[tuple[str, list[Planted]]]:
    """Rows by what was done to the items."""
    folder = data / "rewrites"
    choice = ",".join(f"{name}={data / 'benchmarks' / name}" for name in NAMES)
    gsm = {text.strip(): key[1] for key, text in questions(choice) if key[0] == "gsm8k"}
    plus = json_lines(folder / "gsmplus/gsmplus_testmini.jsonl")
    kinds: dict[str, list[Planted]] = {}
    for row in plus:
        made = Planted([row["question"], row["solution"]], "gsm8k", gsm[row["seed_question"].strip()])
        kinds.setdefault(f"GSM-Plus, {row['perturbation_type']}", []).append(made)
    yield from ((name, kinds.pop(name)) for name in SAME[:2])
    yield SAME[2], humaneval(folder / "decontaminator/rephrase/humaneval_python.jsonl")
    for subject in SUBJECTS:
        lines = json_lines(folder / f"decontaminator/rephrase/{subject}_test_rephrase_english_filtered_question.jsonl")
        yield f"decontaminator, MMLU {subject}", of_subject(subject, [line["text"] for line in lines])
    yield from kinds.items()
    letters = {re.sub(r"[\d\W]", "", text.lower()): (key, text) for text, key in gsm.items()}
    same, changed = list[Planted](), list[Planted]()
    for line in json_lines(folder / "pal/gsmhardv2.jsonl"):
        found = letters.get(re.sub(r"[\d\W]", "", line["input"].lower()))
        if found:
            equal = re.findall(r"\w+", found[1].lower()) == re.findall(r"\w+", line["input"].lower())
            (same if equal else changed).append(Planted([line["input"], str(line["target"])], "gsm8k", found[0]))
    yield "GSM-hard, left unchanged", same
    yield "GSM-hard, with another number", changed


def translations(data: Path) -> Iterator[tuple[str, list[Planted]]]:
    """Rows in other languages than their items."""
    folder = data / "rewrites"
    for path in sorted((data / "benchmarks/mgsm").glob("mgsm_*.tsv")):
        language = path.stem.removeprefix("mgsm_")
        lines = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n") if line]
        if language != "en":
            rows = [Planted([cells[0], cells[1]], "gsm8k", f"test/{n}") for n, cells in enumerate(lines)]
            yield f"MGSM {language}, of GSM8K", rows
    for subject in SUBJECTS:
        lines_ = json_lines(folder / f"decontaminator/rephrase/{subject}_test_chinese_filtered_question.jsonl")
        yield f"MMLU {subject} in Chinese", of_subject(subject, [line["text"] for line in lines_])
        with (folder / f"mmlu_arabic/{subject}_test.csv").open(encoding="utf-8", newline="") as file:
            yield f"MMLU {subject} in Arabic", of_subject(subject, [cells[0] for cells in csv.reader(file)])
    yield "decontaminator, HumanEval in JavaScript", humaneval(folder / "decontaminator/rephrase/humaneval_js.jsonl")
    for path in sorted((folder / "humanevalx").glob("*.jsonl.gz")):
        language = path.name.removeprefix("humaneval_").removesuffix(".jsonl.gz")
        with gzip.open(path, "rt", encoding="utf-8") as file:
            texts = [json.loads(line)["prompt"] for line in file]
        yield (
            f"HumanEval-X in {language}",
            [Planted([t, ""], "humaneval", f"HumanEval/{n}") for n, t in enumerate(texts)],
        )


def clean(data: Path) -> Iterator[tuple[str, list[list[str]]]]:
    """Rows of instruction sets, and new problems of a benchmark's kind."""
    alpaca = json.loads((data / "alpaca/alpagasus_random_9k.json").read_text(encoding="utf-8"))
    yield "Alpaca", [[f"{r['instruction']}\n\n{r['input']}", r["output"]] for r in alpaca]
    dolly = [
        r for path in sorted((data / "dolly").glob("partition_*.json")) for r in json.loads(path.read_text("utf-8"))
    ]
    yield "Dolly", [[f"{r['instruction']}\n\n{r['context']}", r["response"]] for r in dolly]
    chats = json.loads((data / "sharegpt/v3_records_0_8000.json").read_text(encoding="utf-8"))
    yield "ShareGPT", [turns(chat) for chat in chats[:3000]]
    yield "ShareGPT, unseen", [turns(chat) for chat in chats[3000:]]
    for label, name in (
        ("GPTeacher roleplay, unseen", "gpteacher_roleplay"),
        ("Alpaca in Chinese, unseen", "alpaca_chinese_part_18"),
    ):
        rows = json.loads((data / f"alpaca/{name}.json").read_text(encoding="utf-8"))
        yield (
            label,
            [
                [f"{r.get('instruction', '')}\n\n{r.get('input', '')}", str(r.get("output", r.get("response", "")))]
                for r in rows
            ],
        )
    aqua = (data / "flan/cot/aqua_train.tsv").read_text(encoding="utf-8").split("\n")
    yield "AQuA, training problems, unseen", [line.split("\t")[:2] for line in aqua if line]
    tasks = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((data / "flan/super_ni/tasks").glob("*.json"))
        if "mmmlu" not in path.name
    ]
    yield (
        "Super-NaturalInstructions",
        [[f"{t['Definition'][0]}\n\n{i['input']}", i["output"][0]] for t in tasks for i in t["Instances"][:200]],
    )
    lines = (data / "flan/cot/gsm8k_train.tsv").read_text(encoding="utf-8").split("\n")
    yield "GSM8K, training problems", [line.split("\t")[:2] for line in lines if line]
    asdiv = json_lines(data / "rewrites/pal/asdiv.jsonl")
    yield "ASDiv", [[r["input"], str(r["target"])] for r in asdiv]
    code = json.loads((data / "alpaca/code_alpaca_2k.json").read_text(encoding="utf-8"))
    yield "Code Alpaca", [[f"{r['instruction']}\n\n{r['input']}", r["output"]] for r in code]
    cells = []
    for part in ("dev", "val"):
        for path in sorted((data / "benchmarks/mmlu" / part).glob("*.csv")):
            with path.open(encoding="utf-8", newline="") as file:
                cells += list(csv.reader(file))
    yield "MMLU, dev and val", [[with_options(c), c[5]] for c in cells]


def turns(chat: dict[str, Any]) -> list[str]:
    """The turns of a chat, the person's first: some records begin with the model's, after an empty one here."""
    values = [str(turn.get("value", "")) for turn in chat["conversations"]]
    first = chat["conversations"][0].get("from") if chat["conversations"] else "human"
    return ["", *values] if first in ("gpt", "chatgpt", "bing", "bard") else values


def with_options(cells: list[str]) -> str:
    """A question of MMLU and its lettered options."""
    return "\n".join([cells[0], *(f"{letter}. {text}" for letter, text in zip("ABCD", cells[1:5], strict=True))])


def humaneval(path: Path) -> list[Planted]:
    return [Planted([line["text"], ""], "humaneval", f"HumanEval/{n}") for n, line in enumerate(json_lines(path))]


def of_subject(subject: str, texts: Sequence[str]) -> list[Planted]:
    """Texts by row of a subject's test; empty ones are left out."""
    return [Planted([t, ""], "mmlu", f"{subject}/test/{n}") for n, t in enumerate(texts) if t.strip()]


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


if __name__ == "__main__":
    main()
