"""Whether the answer fits what its prompt asks for: so many items, one sentence, code, a language, an answer."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

import numpy as np
import polars as pl

from caravan.curate import phrases, tasks
from caravan.curate.exchanges import Exchanges, Flags, Floats

VERSION = 3
KIND: Final = "gate"

_ANOTHER_SCRIPT, _ONLY_ASKS = 0.5, 0.5
_WIDE = 1.4  # bytes a character, in UTF-8: what is written in Latin letters has fewer
_LETTERS = 20  # below these an answer may be a name or a sign

_LATIN = r"[A-Za-z\u00c0-\u024f]"
_OTHER = r"[\u0370-\u1fff\u2c80-\u2dff\u3040-\ud7ff\uf900-\ufaff]"
# A prompt with one of these may well ask to leave its script.
_ABOUT_LANGUAGE = (
    r"transl|language|tradu|übersetz|vertaal|terjemah|перев|язык|翻译|翻譯|翻訳|번역|[英汉日韩法德俄]语|中文"
    r"|engl|angl|ingl[eéê]|英文|英語|영어|अंग्रेज|อังกฤษ|انگلیسی|إنجليزي|אנגלית|англ"
    r"|french|spanish|german|chinese|japanese|korean|russian|arabic|hindi|urdu|bengali|tamil|greek|hebrew"
    r"|thai|persian|turkish|ukrain|vietnam|marathi|telugu|gujarati|punjabi|malayalam|kannada|oriya|mandarin|latin"
    r"|pinyin|emoji|unicode|symbol|alphabet|script|word"
)
# A prompt with one of these may well be answered by a question.
_FOR_QUESTIONS = (
    r"question|quiz|\bask|interview|survey|poll|riddle|joke|headline|title|slogan|tagline|hook|caption|tweet|phrase"
    r"|sentence|translat|rewrite|convert|correct|edit|fix|spell|make|transform|generate|complete|dialog|conversation"
    r"|pretend|role|you are|\bhi\b|hello|问|翻译|改写|frage|pregunta|вопрос|[?؟].*[?؟]"
)
_THANKS = r"(?i)\s*thank(?:s| you)[^.!?]{0,30}[.!]?$"
_SAYS = r"[.!:।。！\n]"


def score(e: Exchanges) -> Floats:
    """1 unless the answer clearly does not fit.

    The least of what the rules of `tasks.py` say; .5 where the answer leaves the script of its prompt and nothing asks
    for that; and half of it where all that it says is questions, and the prompt wants an answer.
    """
    values = _by_rules(e)
    values = np.where(_in_another_script(e), np.minimum(values, _ANOTHER_SCRIPT), values)
    return np.where(_only_asks(e), values * _ONLY_ASKS, values)


def _by_rules(e: Exchanges) -> Floats:
    values = np.ones(e.follows.size)
    asked, prompts, answers = e.prompts.task.to_list(), e.prompts.lower, e.answers.read
    for row, rule in _hinted(e):
        found = rule.pattern.search(asked[row])
        if found:
            values[row] = min(values[row], rule.fit(found, tasks.Exchange(prompts[row], answers[row])))
    return values


def _hinted(e: Exchanges) -> Iterator[tuple[int, tasks.Rule]]:
    """Prompts, and the rules of which they hold a hint, from one look at each prompt."""
    found = e.prompts.task.str.extract_many(tasks.HINTS, overlapping=True)
    hinted = pl.DataFrame({"hint": found}).with_row_index("row").explode("hint").join(_hints(), on="hint")
    for row, rule in hinted.select("row", "rule").unique().iter_rows():
        yield row, tasks.RULES[rule]


@cache
def _hints() -> pl.DataFrame:
    pairs = [(hint, number) for number, rule in enumerate(tasks.RULES) for hint in rule.hints]
    return pl.DataFrame(pairs, schema={"hint": pl.String, "rule": pl.UInt32}, orient="row")


def _in_another_script(e: Exchanges) -> Flags:
    """Whether nearly all letters of the prompt are Latin, and hardly one of the answer, or the other way round."""
    wide_asked, wide = (
        (texts.read.str.len_bytes() > _WIDE * texts.read.str.len_chars()).to_numpy() for texts in (e.prompts, e.answers)
    )
    values = np.zeros(wide.size, np.bool_)
    chosen = np.flatnonzero(wide_asked != wide)
    (latin_asked, other_asked), (latin, other) = (
        [texts.read.gather(chosen).str.count_matches(letters).to_numpy() for letters in (_LATIN, _OTHER)]
        for texts in (e.prompts, e.answers)
    )
    left_latin = (other_asked == 0) & (latin_asked >= _LETTERS) & (other >= _LETTERS) & (9 * latin < other)
    left_other = (9 * latin_asked < other_asked) & (other_asked >= _LETTERS) & (latin >= 4 * _LETTERS) & (other == 0)
    values[chosen] = left_latin | left_other
    return phrases.each(lambda prompt: not re.search(_ABOUT_LANGUAGE, prompt), e.prompts.lower, values)


def _only_asks(e: Exchanges) -> Flags:
    """Whether the answer is nothing but questions, to a first prompt of six words and more that asks for none."""
    values = e.answers.whole.str.tail(60).str.contains(r"[?？؟]").to_numpy() & (e.prompts.words >= 6) & ~e.follows
    said = e.answers.read.filter(pl.Series(values)).str.replace(_THANKS, "")
    values[values] = (said.str.contains(r"[?？؟][\"'”’)*\s]*$") & ~said.str.contains(_SAYS)).to_numpy()
    return phrases.each(lambda prompt: not re.search(_FOR_QUESTIONS, prompt, re.DOTALL), e.prompts.lower, values)
