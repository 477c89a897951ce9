"""TyDi QA, gold passage task: nine languages, questions about one passage each. Evaluated on dev.

Published in SQuAD's layout, one file for all languages or one a language; on the hub as Parquet. Ids are the data's
own (`english-...`), whose first part is the language. XTREME's copy, whose answers are blanked, is refused.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from caravan.errors import UserError
from caravan.eval.benchmark import Item
from caravan.eval.files import AGAIN, entries, json_value, locate, rows, text, unique

VERSION = 1
HUB = "google-research-datasets/tydiqa"
LICENCE = "Apache-2.0"

FILES = (
    "*_tydiqa_dev.json",
    "tydiqa-goldp-dev-*.json",
    "tydiqa-goldp-v*dev.json",
    "*dev*.json",
    "secondary_task/validation-*.parquet",
)


def items(folder: Path) -> Iterator[Item]:
    """The dev questions, file by file in the order of their names."""
    seen = set[str]()
    for path in locate(folder, *FILES):
        blank, questions = 0, 0
        for where, own_id, question, passage, answers in _hub(path) if path.suffix == ".parquet" else _published(path):
            questions += 1
            blank += not any(a.strip() for a in answers)
            language = own_id.split("-", 1)[0]
            if not question.strip():
                raise UserError("a question without text", where=where, fix=AGAIN)
            yield Item(unique(own_id, seen), question, answers[0] if answers else "", language, passage=passage)
        if questions and blank == questions:
            raise UserError(
                "every answer is blank: this is a copy made for hidden scoring, such as XTREME's",
                where=str(path),
                fix="take the dev files of TyDi QA GoldP itself",
            )


Question = tuple[str, str, str, str, list[str]]
"""Where, id, question, passage, answers."""


def _published(path: Path) -> Iterator[Question]:
    for number, article in enumerate(entries(json_value(path), "data", str(path)), 1):
        where = f"{path}:{number}"
        for paragraph in entries(article, "paragraphs", where):
            passage = text(paragraph, "context", where)
            for qa in entries(paragraph, "qas", where):
                answers = [text(a, "text", where) for a in entries(qa, "answers", where)]
                yield where, text(qa, "id", where), text(qa, "question", where), passage, answers


def _hub(path: Path) -> Iterator[Question]:
    for where, row in rows(path):
        answers: Any = row.get("answers")
        texts = answers.get("text") if isinstance(answers, dict) else None
        if not isinstance(texts, list):
            raise UserError("no answers", where=where, fix=AGAIN)
        yield where, text(row, "id", where), text(row, "question", where), text(row, "context", where), texts
