"""MGSM: the first 250 test problems of GSM8K, translated by people into ten languages; `mgsm_LANG.tsv`.

Two columns, question and number, without header and without quoting. Ids are `LANG/ROW`, counted from 0. All problems
of a row are one problem in several languages: they are a cluster, `row ROW`, across the languages.

A question is asked in its language with the authors' labels ("Question:", "Step-by-Step Answer:"), after the authors'
worked examples where their `exemplars.py` lies in the folder (it is read as data, never run), else without any.

| protocol | the answer | right if |
|---|---|---|
| `tulu` | none is published: the published rule for GSM8K | as there |
| `original` | the last number after "the answer is" in the language, else of all | the same digits, commas out |
| `strict` | after the last such mark, "####" or \\boxed, else the last number: see `numbers` | the same number |

`strict` reads digits of all scripts, the comma as decimal sign in German, Spanish, French and Russian, 万 and other
units after digits in Chinese and Japanese, and numbers wholly in characters right after the mark. The authors
publish no scoring code: `original` follows the form in which their examples end, in ASCII digits.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from caravan.errors import UserError
from caravan.eval.benchmark import Answer, Ask, Item, Problem, Setting, Verdict
from caravan.eval.benchmarks.gsm8k import number_verdict, numbered, tulu_verdict
from caravan.eval.files import AGAIN, lines, locate, read_text
from caravan.eval.scoring.han_numbers import with_digits
from caravan.eval.scoring.numbers import final_number

VERSION = 1
HUB = "juletxara/mgsm"
LICENCE = "CC-BY-SA-4.0"
VARIANTS = ("native",)
METRICS = ("accuracy",)
AVERAGE: Literal["micro", "macro"] = "macro"

EXEMPLARS = "exemplars.py"


class Language(NamedTuple):
    """The authors' labels, and what comes before an answer (a pattern)."""

    question: str
    answer: str
    mark: str


ENGLISH = Language("Question: ", "Step-by-Step Answer:", r"\banswer(?:\s+is\b:?|\**\s*:)")
LANGUAGES = {
    "bn": Language("প্রশ্ন: ", "ধাপে ধাপে উত্তর:", r"উত্তর(?:\s*(?:হলো|হল))?\s*[:：]?"),
    "de": Language("Frage: ", "Schritt-für-Schritt-Antwort:", r"\bAntwort(?:\s+(?:ist|lautet)\b:?|\**\s*:)"),
    "en": ENGLISH,
    "es": Language("Pregunta: ", "Respuesta paso a paso:", r"\brespuesta(?:\s+final)?(?:\s+es\b:?|\**\s*:)"),
    "fr": Language("Question : ", "Réponse étape par étape :", r"\bréponse(?:\s+finale)?(?:\s+est\b:?|\**\s*:)"),
    "ja": Language("問題：", "ステップごとの答え：", r"答え(?:は|[:：])"),
    "ru": Language("Задача: ", "Пошаговое решение:", r"\bответ(?:\s*[:—–])?"),
    "sw": Language("Swali: ", "Jibu la Hatua kwa Hatua:", r"\bjibu\b(?!\s+la\b)(?:\s+(?:sahihi\s+)?ni\b)?\s*:?"),
    "te": Language("ప్రశ్న: ", "దశలవారీగా సమాధానం:", r"సమాధానం\s*:?"),
    "th": Language("โจทย์: ", "คำตอบทีละขั้นตอน:", r"คำตอบ(?!ที)(?:คือ)?\s*:?"),
    "zh": Language("问题：", "逐步解答：", r"答案(?:是|为|為|[:：])"),
}
"""Other languages are asked with the English labels."""

COMMA = frozenset({"de", "es", "fr", "ru"})  # languages in which the comma begins the decimals
HAN = frozenset({"ja", "zh"})


def items(folder: Path) -> Iterator[Item]:
    """All problems, language by language in the order of their codes."""
    for path in locate(folder, "mgsm_*.tsv"):
        language = path.stem.removeprefix("mgsm_")
        for number, (where, line) in enumerate(lines(path)):
            cells = line.split("\t")
            if len(cells) != 2:
                raise UserError(f"{len(cells)} columns, not a question and a number", where=where, fix=AGAIN)
            yield Item(f"{language}/{number}", cells[0], cells[1].strip(), language)


def problems(folder: Path, variant: str) -> Iterator[Problem]:
    """All problems, each with its language's examples where the folder has them."""
    examples = _exemplars(folder)
    for item in items(folder):
        row = item.id.rpartition("/")[2]
        shots = tuple(examples.get(item.group, []))
        yield Problem(numbered(item, str(folder)), (item.answer,), f"row {row}", shots)


def notes(folder: Path, variant: str) -> list[str]:
    """What a reader of the score must know of the prompt."""
    examples = _exemplars(folder)
    without = sorted({item.group for item in items(folder)} - set(examples))
    if not without:
        return []
    return [f"asked without examples in {', '.join(without)}: the authors' {EXEMPLARS} would give them"]


def _exemplars(folder: Path) -> dict[str, list[Problem]]:
    """The examples of each language from the authors' file, {LANG: {"1": {"q": ..., "a": ...}}}, read as data."""
    try:
        (path, *_) = locate(folder, EXEMPLARS)
    except UserError:
        return {}
    try:
        values = [
            ast.literal_eval(node.value) for node in ast.parse(read_text(path)).body if isinstance(node, ast.Assign)
        ]
        (table,) = (value for value in values if isinstance(value, dict))
        return {language: [_example(language, n, own) for n, own in rows.items()] for language, rows in table.items()}
    except (ValueError, TypeError, AttributeError, KeyError, SyntaxError, RecursionError, MemoryError):
        raise UserError("not one table of examples by language", where=str(path), fix=AGAIN) from None


def _example(language: str, number: str, own: Any) -> Problem:
    question, answer = own["q"], own["a"]
    if not isinstance(question, str) or not isinstance(answer, str):
        raise TypeError
    return Problem(Item(f"{language}/example/{number}", question, answer, language))


def ask(problem: Problem, setting: Setting) -> Ask:
    """The examples as they are, then the question with the labels of its language."""
    words = LANGUAGES.get(problem.item.group, ENGLISH)
    shots = [f"{shot.item.question}\n{shot.item.answer}" for shot in problem.shots]
    body = "\n\n".join([*shots, words.question + problem.item.question])
    following = f"\n{words.question.rstrip()}"
    stop, chat_stop = (("\n",), ()) if setting.protocol == "tulu" else ((following,), (following,))
    return Ask(body, f"\n{words.answer}", words.answer, new_tokens=512, stop=stop, chat_stop=chat_stop)


def score(problem: Problem, answers: Sequence[Answer], setting: Setting) -> Verdict:
    """Right or wrong by the protocol's rule; see the module."""
    (answer,) = answers
    if answer.ended == "failed":
        return Verdict("failed", rule="no answer came")
    language, said = problem.item.group, answer.text
    mark = LANGUAGES.get(language, ENGLISH).mark
    if setting.protocol == "tulu":
        return tulu_verdict(said, problem.item.answer)
    if setting.protocol == "original":
        return _original(said, mark, problem.item.answer)
    if not said.strip():
        return Verdict("empty", rule="an empty answer")
    marks = re.compile(rf"####|\\boxed\{{|{mark}|{ENGLISH.mark}", re.I)
    if language in HAN:
        said = with_digits(said, marks)
    value, rule = final_number(said, marks, comma=language in COMMA)
    return number_verdict(value, problem.item.answer, rule)


def _original(said: str, mark: str, gold: str) -> Verdict:
    marks = list(re.finditer(mark, said, re.I))
    found = re.findall(r"-?[0-9][0-9,]*", said[marks[-1].end() :] if marks else said)
    if not found:
        rule = "no number" + (f" after {marks[-1][0].strip()!r}" if marks else "")
        return Verdict("unextractable", {"accuracy": 0.0}, rule=rule)
    digits = found[-1].replace(",", "")
    rule = f"the last number{' after the mark' if marks else ''}, as digits"
    return Verdict("scored", {"accuracy": float(digits == gold.replace(",", ""))}, digits, rule)
