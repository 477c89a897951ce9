"""What a text gives as its answer to a BIG-Bench Hard item, read strictly and by kind of answer.

The kind follows from the item: options with letters, brackets, a number, one of a pair of words, or else words in
their order. A text that gives no answer, or several, is told apart from a wrong one.
"""

import re
from collections.abc import Callable

from caravan.eval.benchmark import Item
from caravan.eval.scoring.numbers import numbers, only_number

MARK = re.compile(r"\banswer(?:\s+is\b|\**\s*:)", re.I)
END = re.compile(r"[.!?](?=[*\"'`)\]]*(?:\s|$))|\n")
OPTION = re.compile(r"^\(([A-Z])\)[ \t]*(.*?)[ \t]*$", re.M)
LETTER = re.compile(r"(?<!\w)[(\[]\s*([A-Za-z])\s*[)\]](?!\w)")
BARE = re.compile(r"[\s\"'“*]*([A-Za-z])[\s\"'”*.,:)]*")
FIRST = re.compile(r"[\s\"'“*]*([A-Z])[.):](?=\s)")
BRACKETS = frozenset("()[]{}<>")
AMONG = frozenset(" \t,;.\"'`*“”’")
PAIRS = (frozenset({"true", "false"}), frozenset({"yes", "no"}), frozenset({"valid", "invalid"}))
DRESS = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}|\\text(?:bf)?\{([^{}]*)\}")

Read = tuple[str, str]
"""The answer in the form in which it is compared, and how it was read; "" and why where there are several."""
Reader = Callable[[str, bool], Read | None]
"""Reads a span; the flag: it must be nothing but the answer. None where it holds nothing of the kind."""


def right_answer(item: Item) -> str:
    """The target in the form in which answers are compared."""
    found = _reader(item)(item.answer, False)
    return found[0] if found else ""


def answer_of(item: Item, said: str, *, direct: bool) -> Read:
    """The answer that a text gives: what follows the last "answer is" (or "answer:") up to the end of the sentence.

    A mark that nothing of the kind follows is passed over ("I hope that this answer is helpful"). Without a mark the
    first line counts where no chain of thought was asked for (`direct`), else a text that is nothing but an answer.
    """
    reader = _reader(item)
    marks = list(MARK.finditer(said))
    end = len(said)
    for mark in reversed(marks):
        span = END.split(said[mark.end() : end].lstrip(" \t\r\n:*"), maxsplit=1)[0]
        end = mark.start()
        if found := reader(span, False):
            return found[0], f"last {mark[0].strip()!r}, {found[1]}"
    if marks:
        return "", f"nothing fitting after {marks[-1][0].strip()!r}"
    if direct:
        found = reader(said.strip().split("\n")[0], False)
        return (found[0], f"the first line, {found[1]}") if found else ("", "no answer in the first line")
    found = reader(said.strip(), True)
    return (found[0], f"nothing but an answer, {found[1]}") if found else ("", "no 'answer is'")


def _reader(item: Item) -> Reader:
    options = {letter: _words_of(text) for letter, text in OPTION.findall(item.question)}
    if options and re.fullmatch(r"\([A-Z]\)", item.answer):
        return lambda span, alone: _letter(span, alone, options)
    if item.answer and all(c in BRACKETS or c.isspace() for c in item.answer):
        return lambda span, _: _brackets(span)
    if only_number(item.answer) is not None:
        return _number
    pair = next((p for p in PAIRS if item.answer.lower() in p), None)
    if pair is not None:
        return lambda span, alone: _word(span, alone, pair)
    return lambda span, alone: _words(span, alone, item)


def _letter(span: str, alone: bool, options: dict[str, str]) -> Read | None:
    span = _undressed(span)
    if bare := BARE.fullmatch(span):
        return bare[1].upper(), "option by letter"
    letters = sorted({letter.upper() for letter in LETTER.findall(span)})
    if alone and not LETTER.fullmatch(span.rstrip(".")):
        return None
    if not letters and (first := FIRST.match(span)):
        letters = [first[1]]
    if len(letters) > 1:
        return "", f"several options: {', '.join(letters)}"
    if _denied(span):
        return "", "says what it is not"
    if letters:
        return letters[0], "option by letter"
    named = [letter for letter, text in options.items() if text and text == _words_of(span)]
    return (named[0], "option by its text") if len(named) == 1 else None


def _brackets(span: str) -> Read | None:
    """Brackets one by one, each of its kind; only spaces, commas and quotes may stand among them."""
    found = "".join(c for c in span if c in BRACKETS)
    if not found or any(c not in BRACKETS and c not in AMONG for c in span):
        return None
    return found, "brackets exact"


def _number(span: str, alone: bool) -> Read | None:
    span = _undressed(span).rpartition("=")[2].strip()
    if alone and only_number(span.rstrip(".")) is None:
        return None
    values = {value for _, value in numbers(span)}
    if len(values) > 1:
        return "", "several numbers"
    if _denied(span):
        return "", "says what it is not"
    return (str(values.pop()), "as a number") if values else None


def _word(span: str, alone: bool, pair: frozenset[str]) -> Read | None:
    words = re.findall(r"\w+", _undressed(span).lower())
    found = sorted(set(words) & pair)
    if not found or (alone and len(words) > 1):
        return None
    if len(found) > 1:
        return "", f"both {' and '.join(found)}"
    return ("", "says what it is not") if _denied(span) else (found[0], "one of two words")


def _words(span: str, alone: bool, item: Item) -> Read | None:
    """Word by word, in order; case and commas between words do not count, signs within a word do."""
    found = _words_of(span)
    if alone and sorted(found.split()) != sorted(_words_of(item.answer).split()):
        return None
    return (found, "words in their order") if found else None


def _words_of(text: str) -> str:
    words = (word.strip(",;:\"'“”") for word in _undressed(text).casefold().removesuffix(".").split())
    return " ".join(filter(None, words))


def _undressed(span: str) -> str:
    r"""Without the marks of Markdown and LaTeX around an answer: **B**, `B`, $B$, \boxed{B}, \text{B}."""
    before = None
    while before != span:
        before, span = span, DRESS.sub(lambda m: m[1] if m[1] is not None else m[2], span)
    return span.replace("**", "").replace("`", "").strip().strip("$").strip()


def _denied(span: str) -> bool:
    return re.match(r"\W*not\b", span, re.I) is not None
