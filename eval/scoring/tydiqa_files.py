"""The files of TyDi QA GoldP: SQuAD's layout, the hub's Parquet, and examples to show before a question."""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from caravan.errors import UserError
from caravan.eval.files import AGAIN, entries, json_value, locate, rows, text, unique

FILES = (
    "*_tydiqa_dev.json",
    "tydiqa-goldp-dev-*.json",
    "tydiqa-goldp-v*dev.json",
    "*dev*.json",
    "secondary_task/validation-*.parquet",
)
TRAIN = (
    "*_tydiqa_train.json",
    "tydiqa-goldp-train-*.json",
    "tydiqa-goldp-v*train.json",
    "*train*.json",
    "secondary_task/train-*.parquet",
)
ONE_SHOT = "tydiqa-one-shot.json"


class Question(NamedTuple):
    """A question as the files have it; `end` is where, in the passage, the last of its answers ends."""

    where: str
    id: str
    question: str
    passage: str
    answers: tuple[str, ...]
    end: int

    @property
    def language(self) -> str:
        """The first part of the id."""
        return self.id.split("-", 1)[0]


def dev(folder: Path) -> Iterator[Question]:
    """The dev questions, file by file in the order of their names, each under an id of its own."""
    seen = set[str]()
    for path in locate(folder, *FILES):
        blank, questions = 0, 0
        for one in _questions(path):
            questions += 1
            blank += not any(a.strip() for a in one.answers)
            if not one.question.strip():
                raise UserError("a question without text", where=one.where, fix=AGAIN)
            yield one._replace(id=unique(one.id, seen))
        if questions and blank == questions:
            raise UserError(
                "every answer is blank: this is a copy made for hidden scoring, such as XTREME's",
                where=str(path),
                fix="take the dev files of TyDi QA GoldP itself",
            )


def examples(folder: Path, asked: set[str]) -> dict[str, Question]:
    """The example of each language that has one; `asked` are the ids of dev, which are none."""
    found: dict[str, Question] = {}
    for path in _if_there(folder, ONE_SHOT):
        value = json_value(path)
        for language in value if isinstance(value, dict) else ():
            for row in entries(value, language, str(path)):
                one = question_of(row, f"{path}:{language}")
                if one.id not in asked:
                    found.setdefault(language, one)
    ranked: dict[str, tuple[str, Question]] = {}
    for path in _if_there(folder, *TRAIN):
        for one in _questions(path):
            rank = blake2b(one.id.encode(), digest_size=8).hexdigest()
            best = ranked.get(one.language)
            if one.id not in asked and any(a.strip() for a in one.answers) and (best is None or rank < best[0]):
                ranked[one.language] = rank, one
    return {language: one for language, (_, one) in ranked.items()} | found


def _if_there(folder: Path, *patterns: str) -> list[Path]:
    try:
        return locate(folder, *patterns)
    except UserError:
        return []


def _questions(path: Path) -> Iterator[Question]:
    return _hub(path) if path.suffix == ".parquet" else _published(path)


def _published(path: Path) -> Iterator[Question]:
    for number, article in enumerate(entries(json_value(path), "data", str(path)), 1):
        where = f"{path}:{number}"
        for paragraph in entries(article, "paragraphs", where):
            passage = text(paragraph, "context", where)
            for qa in entries(paragraph, "qas", where):
                yield question_of({**qa, "context": passage}, where)


def _hub(path: Path) -> Iterator[Question]:
    for where, row in rows(path):
        answers: Any = row.get("answers")
        texts = answers.get("text") if isinstance(answers, dict) else None
        if not isinstance(texts, list):
            raise UserError("no answers", where=where, fix=AGAIN)
        starts = answers.get("answer_start") or [None] * len(texts)
        pairs = [{"text": t, "answer_start": at} for t, at in zip(texts, starts, strict=False)]
        yield question_of({**row, "answers": pairs}, where)


def question_of(row: dict[str, Any], where: str) -> Question:
    """A question of a flat row: id, question, context and answers."""
    passage = text(row, "context", where)
    answers = [(text(a, "text", where), a.get("answer_start")) for a in entries(row, "answers", where)]
    ends = [_end(passage, answer, start) for answer, start in answers]
    own_id, question = text(row, "id", where), text(row, "question", where)
    return Question(where, own_id, question, passage, tuple(answer for answer, _ in answers), max(ends, default=0))


def _end(passage: str, answer: str, start: Any) -> int:
    """Where an answer ends; the whole passage counts where it cannot be told."""
    if not isinstance(start, int) or passage[start : start + len(answer)] != answer:
        start = passage.find(answer)
    return len(passage) if start < 0 else start + len(answer)
