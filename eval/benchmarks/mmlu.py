"""MMLU: 57 subjects of four-way multiple choice. Evaluated on test; dev holds the examples, val is not used.

Published as `SUBJECT_test.csv` (question, A, B, C, D, letter; no header) under `test/`, the examples as
`SUBJECT_dev.csv` under `dev/`; on the hub as Parquet. Ids are `SUBJECT/test/ROW`, ROW counted from 0 within the
subject, as the hub counts.

The model's answer is the letter with the highest log-probability after the prompt (" A", the space belongs to it);
where several are equal, the first. The score is the share of right letters over all items.

| protocol | prompt | score of a text (stored outputs) |
|---|---|---|
| `tulu` | two spaces before the subject; "None" and such read as pandas does: "nan" | right if it is just the letter |
| `original` | two spaces before the subject | as `strict`: the authors score log-probabilities alone |
| `strict` | one space; every cell as it is in the file | one letter marked as the answer, see `answer_letter` |

In all three the runner takes examples away, last first, where a prompt is too long (`tulu`: over 2,048 tokens). Of the
published faults two are not reproduced: probabilities of half precision that underflow to four zeros, so that A is
taken (here log-probabilities never underflow; all -inf is no answer in `strict`), and the endless loop on a question
of over 2,048 tokens.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import inf, isnan
from pathlib import Path
from typing import Any, Literal

from caravan.errors import UserError
from caravan.eval.benchmark import Answer, Ask, Item, Problem, Scored, Setting, Verdict
from caravan.eval.files import AGAIN, csv_records, locate, rows, text
from caravan.eval.scoring.mmlu_subjects import CATEGORIES, CATEGORY_OF, FIELD_OF, FIELDS

VERSION = 1
HUB = "cais/mmlu"
LICENCE = "MIT"
VARIANTS = ("5-shot", "0-shot")
METRICS = ("accuracy",)
AVERAGE: Literal["micro", "macro"] = "micro"

LETTERS = "ABCD"
SHOTS = 5
PASSAGE = 300  # characters: questions of a subject that begin with so many in common share a passage

# fmt: off
MISSING = frozenset([
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
])
# fmt: on
"""Cells that pandas (2.0 and later) reads as a missing value, which the published code then writes as "nan"."""

NO_EXAMPLES = "put SUBJECT_dev.csv into dev/ beside test/, or ask without examples: mmlu:0-shot"
Split = Literal["test", "dev"]


def items(folder: Path) -> Iterator[Item]:
    """The test items, subject by subject in the order of their names."""
    return (item for item, _ in _read(folder, "test"))


def problems(folder: Path, variant: str) -> Iterator[Problem]:
    """The test problems, each with the first five of its subject's dev examples (`0-shot`: with none).

    Questions of a subject that begin with the same long passage, or are the same, are a cluster.
    """
    shots: dict[str, list[Problem]] = {}
    if variant == "5-shot":
        for item, gold in _read(folder, "dev"):
            shots.setdefault(item.group, []).append(Problem(item, (gold,)))
    found = list(_read(folder, "test"))
    beginnings = [(item.group, " ".join(item.question.split())[:PASSAGE]) for item, _ in found]
    shared = Counter(beginnings)
    first: dict[tuple[str, str], str] = {}
    for (item, gold), beginning in zip(found, beginnings, strict=True):
        if variant == "5-shot" and item.group not in shots:
            raise UserError(f"no dev examples of {item.group}", where=str(folder), fix=NO_EXAMPLES)
        cluster = first.setdefault(beginning, item.id) if shared[beginning] > 1 else ""
        yield Problem(item, (gold,), cluster, tuple(shots.get(item.group, [])[:SHOTS]))


def ask(problem: Problem, setting: Setting) -> Ask:
    """The header, the examples, the question; the log-probabilities of the four letters."""
    space = " " if setting.protocol == "strict" else "  "
    subject = problem.item.group.replace("_", " ")
    header = f"The following are multiple choice questions (with answers) about{space}{subject}.\n\n"
    shots = [f"{_question(shot, setting)} {shot.golds[0]}\n\n" for shot in problem.shots]
    body = "".join([header, *shots, _question(problem, setting)])
    return Ask(body, opener="The answer is:", choices=tuple(f" {letter}" for letter in LETTERS))


def score(problem: Problem, answers: Sequence[Answer], setting: Setting) -> Verdict:
    """Right or wrong by the likeliest letter, or by the letter that a text gives."""
    (answer,) = answers
    if answer.ended == "failed":
        return Verdict("failed", rule="no answer came")
    if answer.logprobs:
        return _likeliest(problem, answer.logprobs, setting)
    if not answer.text.strip():
        return Verdict("empty", rule="an empty answer")
    if setting.protocol == "tulu":
        bare = answer.text.strip()
        letter, rule = (bare if bare and bare in [*LETTERS] else ""), "nothing but the letter"
    else:
        letter, rule = answer_letter(answer.text)
    if not letter:
        return Verdict("unextractable", {"accuracy": 0.0}, rule=rule)
    return Verdict("scored", {"accuracy": float(letter in problem.golds)}, letter, rule)


def category(group: str) -> str:
    """The category that the authors pool a subject under."""
    return CATEGORY_OF.get(group, "no category")


def published(scored: Scored) -> dict[str, Any]:
    """Shares of right answers as the published scripts write them: in all, by field and by category, over items."""
    values = [(p.item.group, v.values["accuracy"]) for p, v in scored if "accuracy" in v.values]

    def pooled(names: Mapping[str, Any], of: Mapping[str, str]) -> dict[str, float]:
        members = {name: [value for subject, value in values if of.get(subject) == name] for name in names}
        return {name: sum(own) / len(own) for name, own in members.items() if own}

    average = {"average_acc": sum(v for _, v in values) / len(values)} if values else {}
    return {**average, "subcat_acc": pooled(FIELDS, FIELD_OF), "cat_acc": pooled(CATEGORIES, CATEGORY_OF)}


ALONE = re.compile(r"\W*([A-Da-d])\W*")
FIRST = re.compile(r"[\s\"'*_(\[]*([A-D])(?=\s*[.):,\]*\n])")
MARKED = re.compile(r"[(\[]\s*([A-Da-d])\s*[)\]]|\*\*\s*([A-D])\s*[.:)]?\s*\*\*|\\boxed\{\s*(?:\\text\{)?([A-D])\}")
NAMED = re.compile(
    r"\b(?:answer|option|choice)(?:\s+is|\s*:)?(?:\s+option|\s+choice)?[\s:*_\"'(\[]*([A-D])(?![\w'’-])", re.I
)


def answer_letter(said: str) -> tuple[str, str]:
    """The letter that a text gives as its answer ("" where none, or more than one), and why.

    A letter counts alone ("B", "(b)", "B."), at the beginning before a mark ("B. Paris"), in brackets or bold
    anywhere, or after "answer is", "answer:", "option" and "choice". Letters that stand otherwise ("A dog") are words.
    """
    if alone := ALONE.fullmatch(said):
        return alone[1].upper(), "the letter alone"
    found = [m[1] for m in [FIRST.match(said)] if m]
    found += [next(filter(None, m.groups())) for m in MARKED.finditer(said)]
    found += [m[1] for m in NAMED.finditer(said) if m[1].isupper()]
    letters = sorted({letter.upper() for letter in found})
    if len(letters) == 1:
        return letters[0], "the one letter marked as the answer"
    return "", f"several letters marked: {', '.join(letters)}" if letters else "no letter marked as the answer"


def _likeliest(problem: Problem, logprobs: Sequence[float], setting: Setting) -> Verdict:
    if len(logprobs) != len(LETTERS) or any(isnan(x) for x in logprobs):
        return Verdict("failed", rule=f"not the log-probabilities of {len(LETTERS)} letters")
    best = max(logprobs)
    if best == -inf and setting.protocol == "strict":
        return Verdict("unextractable", {"accuracy": 0.0}, rule="no letter has any probability")
    rule = "the likeliest letter" if logprobs.count(best) == 1 else "the first of the likeliest letters"
    letter = LETTERS[logprobs.index(best)]
    return Verdict("scored", {"accuracy": float(letter in problem.golds)}, letter, rule)


def _question(problem: Problem, setting: Setting) -> str:
    cells = [problem.item.question, *problem.item.choices]
    if setting.protocol == "tulu":
        cells = ["nan" if cell in MISSING else cell for cell in cells]
    options = [f"{letter}. {cell}" for letter, cell in zip(LETTERS, cells[1:], strict=True)]
    return "\n".join([cells[0], *options, "Answer:"])


def _read(folder: Path, split: Split) -> Iterator[tuple[Item, str]]:
    """The items of a split, each with the letter of its answer."""
    try:
        paths = locate(folder, f"*_{split}.csv", f"all/{split}-*.parquet", f"{split}-*.parquet")
    except UserError as error:
        raise UserError(error.what, where=error.where, fix=NO_EXAMPLES if split == "dev" else error.fix) from None
    for path in paths:
        yield from _hub(path, split) if path.suffix == ".parquet" else _published(path, split)


def _published(path: Path, split: Split) -> Iterator[tuple[Item, str]]:
    subject = path.name.removesuffix(f"_{split}.csv")
    for number, (where, cells) in enumerate(csv_records(path)):
        if len(cells) != 6 or cells[5].strip() not in [*LETTERS]:
            raise UserError("not a question, four options and one of A, B, C, D", where=where, fix=AGAIN)
        yield _item(f"{subject}/{split}/{number}", subject, cells[0], cells[1:5], LETTERS.index(cells[5].strip()))


def _hub(path: Path, split: Split) -> Iterator[tuple[Item, str]]:
    seen = Counter[str]()
    for where, row in rows(path):
        subject, choices, answer = text(row, "subject", where), row.get("choices"), row.get("answer")
        if not isinstance(choices, list) or len(choices) != 4 or not isinstance(answer, int) or not 0 <= answer < 4:
            raise UserError("not four choices and the number of the right one", where=where, fix=AGAIN)
        own_id = f"{subject}/{split}/{seen[subject]}"
        yield _item(own_id, subject, text(row, "question", where), choices, answer)
        seen[subject] += 1


def _item(own_id: str, subject: str, question: str, choices: list[str], answer: int) -> tuple[Item, str]:
    return Item(own_id, question, choices[answer], subject, tuple(choices)), LETTERS[answer]
