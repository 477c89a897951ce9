"""Texts whose language is known: English sets, texts of other languages, and pairs of words.

The language is that of the file (a test set of one language), or what people gave as the language of a message. Such
marks are not free of errors, and an English answer may rightly be in another language: a translation, a dish.
"""

import csv
import html
import json
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

CODES = {
    "deu": "de", "nno": "nn", "nob": "nb", "pes": "fa", "cmn": "zh", "por": "pt", "ron": "ro", "jpn": "ja",
}  # fmt: skip


class Case(NamedTuple):
    """One text of a set, with the prompt that it answers ("" where it answers none)."""

    set: str
    language: str
    prompt: str
    text: str


def english(data: Path, most: int) -> list[Case]:
    """At most so many of each set of English prompts and answers, drawn with a seed."""
    sets: dict[str, Iterable[tuple[str, str]]] = {
        "self-instruct, by people": self_instruct(data),
        "alpaca, bilingual part 18": (_asked(r, "en_") for r in _read(data / "alpaca/alpaca_chinese_part_18.json")),
        "alpaca, demo": map(_asked, _read(data / "lang/alpaca/alpaca_en_demo.json")),
        "alpagasus": map(_asked, _read(data / "alpaca/alpagasus_random_9k.json")),
        "oasst, messages": oasst(data),
        "IFEval prompts": (("", row["prompt"]) for row in _read(data / "lang/mifeval/en_input_data.jsonl")),
        "dolly": map(_asked, _read(data / "dolly/alpagasus_dolly_3k.json")),
        "GPTeacher role-play": map(_asked, _read(data / "alpaca/gpteacher_roleplay.json")),
        "CoT (aqua, qasc, strategyqa)": (
            _asked(row)
            for name in ("aqua", "qasc", "strategyqa")
            for row in _read(data / f"alpaca/alpaca_cot_{name}_train.json")
        ),
        "code alpaca": map(_asked, _read(data / "alpaca/code_alpaca_2k.json")),
        "LIMA": map(_asked, _read(data / "messages/lima_llamafactory.json")),
        "MT-Bench": mt_bench(data / "lang/mtbench/mt_bench"),
        "lingua sentences": (("", line) for line in lines(data / "lang/lingua/sentences/en.txt")),
    }
    return [Case(name, "en", *pair) for name, pairs in sets.items() for pair in drawn(pairs, most)]


def others(data: Path, most: int) -> list[Case]:
    """At most so many texts of each language of each set of other languages, drawn with a seed."""
    sets: dict[tuple[str, str], Iterable[tuple[str, str]]] = {}
    for path in sorted((data / "lang/lingua/sentences").glob("*.txt")):
        sets["lingua sentences", path.stem] = (("", line) for line in lines(path))
    for path in sorted((data / "lang/udhr").glob("*.html")):
        code = path.stem.split("_")[0]
        sets["UDHR paragraphs", path.stem if code != "deu" else "deu"] = (("", text) for text in paragraphs(path))
    for code in ("es", "fr", "ja"):
        sets["M-IFEval prompts", code] = (
            ("", row["prompt"]) for row in _read(data / f"lang/mifeval/{code}_input_data.jsonl")
        )
    for code in ("de", "id", "ja", "pl"):
        sets["MT-Bench", code] = mt_bench(data / f"lang/mtbench/{code}_mt_bench")
    sets["alpaca, bilingual part 18", "zh"] = (
        _asked(row, "zh_") for row in _read(data / "alpaca/alpaca_chinese_part_18.json")
    )
    sets["alpaca, demo", "zh"] = map(_asked, _read(data / "lang/alpaca/alpaca_zh_demo.json"))
    sets["oasst, messages", "fr"] = vigogne(data)
    for path in sorted((data / "benchmarks/mgsm").glob("mgsm_*.tsv")):
        sets["MGSM", path.stem[-2:]] = (("", line.split("\t")[0]) for line in lines(path))
    for path in sorted((data / "benchmarks/tydiqa").glob("*_dev.json")):
        sets["TydiQA", path.stem.split("_")[0]] = tydiqa(path)
    for path in sorted((data / "rewrites/mmlu_arabic").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            sets["MMLU", "ar"] = [("", row[0]) for row in csv.reader(file) if row]
    return [
        Case(name, code, *pair)
        for (name, code), pairs in sets.items()
        if code not in ("en", "eng", "english")
        for pair in drawn(pairs, most)
    ]


def word_pairs(data: Path) -> list[Case]:
    """Two words of a language, as lingua's tests have them."""
    return [
        Case("lingua word pairs", path.stem, "", line)
        for path in sorted((data / "lang/lingua/word-pairs").glob("*.txt"))
        for line in lines(path)
    ]


def drawn(pairs: Iterable[tuple[str, str]], most: int) -> list[tuple[str, str]]:
    """At most so many of the pairs that have a text, in their order."""
    there = [(prompt, text) for prompt, text in pairs if text.strip()]
    return [there[i] for i in sorted(random.Random(0).sample(range(len(there)), min(most, len(there))))]


def lines(path: Path) -> list[str]:
    """The lines of a file that are not empty."""
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def paragraphs(path: Path) -> list[str]:
    """The paragraphs of a declaration, without titles."""
    found = re.findall(r"<(p|li)\b[^>]*>(.*?)</\1>", path.read_text(encoding="utf-8"), re.DOTALL)
    return [html.unescape(re.sub(r"<[^>]+>", " ", text)).strip() for _, text in found]


def self_instruct(data: Path) -> Iterator[tuple[str, str]]:
    """The 427 instances that people wrote: 175 seed tasks, 252 user-oriented ones."""
    for name in ("seed_tasks", "user_oriented_instructions"):
        for task in _read(data / f"self_instruct/{name}.jsonl"):
            for instance in task["instances"]:
                yield f"{task['instruction']}\n{instance['input']}".strip(), instance["output"]


def oasst(data: Path) -> Iterator[tuple[str, str]]:
    """Messages marked as English, each with the one that it replies to."""
    messages = {row["message_id"]: row for row in _read(data / "judged/oasst1/en-validation.jsonl")}
    for row in messages.values():
        before = messages.get(row["parent_id"])
        yield before["text"] if before else "", row["text"]


def vigogne(data: Path) -> Iterator[tuple[str, str]]:
    """OASST's French threads: each answer with what is asked."""
    for row in _read(data / "oasst/vigogne_fr_1k.jsonl"):
        turns = [turn["content"] for turn in row["conversation"]]
        yield from zip(turns[::2], turns[1::2], strict=False)


def mt_bench(folder: Path) -> Iterator[tuple[str, str]]:
    """First turns of the questions without code and mathematics, and their answers where the set has them."""
    asked = {
        row["question_id"]: row["turns"][0]
        for row in _read(folder / "question.jsonl")
        if row["category"] not in ("coding", "math")
    }
    yield from (("", question) for question in asked.values())
    if (folder / "gpt-3.5-turbo.jsonl").is_file():
        for row in _read(folder / "gpt-3.5-turbo.jsonl"):
            if row["question_id"] in asked:
                yield asked[row["question_id"]], row["choices"][0]["turns"][0]


def tydiqa(path: Path) -> Iterator[tuple[str, str]]:
    """The questions of a language, and the passages with their answers."""
    for article in _read(path)["data"]:
        for passage in article["paragraphs"]:
            yield "", passage["context"]
            yield from (("", question["question"]) for question in passage["qas"])


def _asked(row: dict[str, Any], prefix: str = "") -> tuple[str, str]:
    given = row.get(f"{prefix}input") or ""
    answer = row.get(f"{prefix}output") or row.get("response") or ""
    return f"{row[f'{prefix}instruction']}\n{given}".strip(), answer


def _read(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return json.loads(text)
    return [json.loads(line) for line in text.split("\n") if line.strip()]
