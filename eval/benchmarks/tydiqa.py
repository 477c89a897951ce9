"""TyDi QA, gold passage task: nine languages, questions about one passage each. Evaluated on dev.

Published in SQuAD's layout, one file for all languages or one a language; on the hub as Parquet. Ids are the data's
own (`english-...`), whose first part is the language. XTREME's copy, whose answers are blanked, is refused.

Each question is asked in its language, after one example: of `tydiqa-one-shot.json` ({language: [question]}) where
that lies beside, else the train question whose id has the lowest hash, those that are in dev too left out. A language
without either is asked without an example; the run's count of examples shows it. `closed-book` shows no passage.

| protocol | passage | answer | compared |
|---|---|---|---|
| `tulu` | first 512 tokens, by the model under test: models see different texts | all that was written | SQuAD 1.1 |
| `original` | whole | all that was written | SQuAD 1.1 |
| `strict` | whole, or cut behind the answer (`LONG` characters) | the first line | words, see `squad.words` |

An empty answer is worth nothing by the published rules, and an error class of its own in `strict`. The score is the
mean over languages; TyDi QA's authors leave English out of theirs, which `published` gives too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any, Literal

from caravan.errors import UserError, did_you_mean
from caravan.eval.benchmark import Answer, Ask, Item, Outputs, Problem, Scored, Setting, Stored, Verdict
from caravan.eval.files import AGAIN, json_value, rows, text
from caravan.eval.scoring import squad
from caravan.eval.scoring.tydiqa_files import Question, dev, examples, question_of
from caravan.eval.scoring.tydiqa_words import WORDS, Words

VERSION = 1
HUB = "google-research-datasets/tydiqa"
LICENCE = "Apache-2.0"
VARIANTS = ("gold", "closed-book")
METRICS = ("f1", "exact_match", "recall")
AVERAGE: Literal["micro", "macro"] = "macro"
TULU_SAMPLE = 100

TULU_TOKENS = 512
LONG = 2000  # characters of the passage that strict shows; twice, three times, ... as many where the answer lies behind
NEW_TOKENS = 50


def items(folder: Path) -> Iterator[Item]:
    """The dev questions, file by file in the order of their names."""
    return (_item(question) for question in dev(folder))


def problems(folder: Path, variant: str) -> Iterator[Problem]:
    """The dev problems, each with the example of its language; questions about one passage are a cluster."""
    found = list(dev(folder))
    shots = {language: _problem(one, ()) for language, one in examples(folder, {q.id for q in found}).items()}
    passages: dict[tuple[str, str], list[str]] = {}
    for one in found:
        passages.setdefault((one.language, one.passage), []).append(one.id)
    for one in found:
        sharing = passages[one.language, one.passage]
        cluster = sharing[0] if len(sharing) > 1 and variant == "gold" else ""
        own = shots.get(one.language)
        yield _problem(one, (own,) if own else (), cluster)


def notes(folder: Path, variant: str) -> list[str]:
    """The languages that have no example here."""
    without = sorted({problem.item.group for problem in problems(folder, variant) if not problem.shots})
    if not without:
        return []
    return [
        f"no example, so asked without one: {', '.join(without)}; their train files, or tydiqa-one-shot.json, have it"
    ]


def ask(problem: Problem, setting: Setting) -> Ask:
    """Instruction, example, passage and question in the question's language; a short text."""
    language = problem.item.group
    if language not in WORDS:
        what = f"no words to ask in {language!r}, the first part of the id"
        raise UserError(what, where=problem.item.id, fix=did_you_mean(language, WORDS))
    words = WORDS[language]
    instruction = words.with_passage if setting.variant == "gold" else words.alone
    shots = [f"{_asked(shot, words, setting)}{words.answer} {shot.golds[0]}" for shot in problem.shots]
    body = "\n\n".join([instruction, *shots, _asked(problem, words, setting)])
    return Ask(body, ending=words.answer, opener=words.answer, new_tokens=NEW_TOKENS, stop=("\n",))


def score(problem: Problem, answers: Sequence[Answer], setting: Setting) -> Verdict:
    """F1, exact match, and whether a right answer is contained; the best of the right answers counts."""
    (answer,) = answers
    if answer.ended == "failed":
        return Verdict("failed", rule="no answer came")
    said, nothing = answer.text.strip(), dict.fromkeys(METRICS, 0.0)
    if setting.protocol != "strict":
        if not said:
            return Verdict("unextractable", nothing, rule="an empty answer, worth nothing as published")
        return Verdict("scored", squad.published(said, problem.golds), said, "SQuAD 1.1, the whole answer")
    if not said:
        return Verdict("empty", rule="an empty answer")
    said = said.split("\n", 1)[0].strip()
    values = squad.strict(said, problem.golds, english=problem.item.group == "english")
    if not squad.words(said, english=False) and not any(values.values()):
        return Verdict("unextractable", nothing, said, "no word in the first line")
    return Verdict("scored", values, said, "words of the first line")


def published(scored: Scored) -> dict[str, Any]:
    """Percent, as the published scripts write them: by language, their mean, and the authors' without English."""
    languages: dict[str, list[Mapping[str, float]]] = {}
    for problem, verdict in scored:
        if verdict.values:
            languages.setdefault(problem.item.group, []).append(verdict.values)
    by = {
        name: {metric: 100 * sum(v[metric] for v in languages[name]) / len(languages[name]) for metric in METRICS}
        for name in sorted(languages)
    }

    def average(kept: Sequence[Mapping[str, float]]) -> dict[str, float]:
        return {metric: sum(one[metric] for one in kept) / len(kept) for metric in METRICS} if kept else {}

    without = average([one for name, one in by.items() if name != "english"])
    return {**by, "average": average(list(by.values())), "average without English": without}


def stored(path: Path, problems: Callable[[], Sequence[Problem]] | None) -> Outputs | None:
    """Predictions as SQuAD's script takes them ({id: text}), or as open-instruct writes them (`prediction_text`)."""
    if path.is_dir():
        return None
    if path.suffix == ".jsonl":
        found = list(rows(path))
        if not found or not all("prediction_text" in row for _, row in found):
            return None
        own = [(question_of(row, where), text(row, "prediction_text", where)) for where, row in found]
        return Outputs([Stored(_problem(one, ()), (Answer(said),)) for one, said in own], "")
    if path.suffix != ".json" or problems is None:
        return None
    said = json_value(path)
    if not isinstance(said, dict) or not all(isinstance(v, str) for v in said.values()):
        return None
    known = [p for p in problems() if p.item.id in said]
    notes = [f"{len(said) - len(known):,} predictions are for no item: not scored"] if len(known) < len(said) else []
    return Outputs([Stored(p, (Answer(said[p.item.id]),)) for p in known], "", notes)


def _asked(problem: Problem, words: Words, setting: Setting) -> str:
    """Passage and question, each on its line behind its word."""
    passage = problem.item.passage
    if setting.protocol == "tulu":
        passage = setting.cut(passage, TULU_TOKENS)
    elif setting.protocol == "strict":
        passage = passage[: LONG * max(ceil(problem.more["answer_end"] / LONG), 1)]
    question = f"{words.question} {problem.item.question}\n"
    return f"{words.passage} {passage}\n{question}" if setting.variant == "gold" else question


def _item(one: Question) -> Item:
    return Item(one.id, one.question, one.answers[0] if one.answers else "", one.language, passage=one.passage)


def _problem(one: Question, shots: tuple[Problem, ...], cluster: str = "") -> Problem:
    golds = tuple(dict.fromkeys(answer for answer in one.answers if answer.strip()))
    if not golds:
        raise UserError(f"{one.id} has no answer", where=one.where, fix=AGAIN)
    return Problem(_item(one), golds, cluster, shots, {"answer_end": one.end})
