"""IFEval's 25 instructions, each a check that a program can make (Zhou et al., 2023, arXiv 2311.07911).

A check says whether a response follows an instruction, and what decided: "at least 300, has 212". Not `exact`, it
decides as the authors' scripts do; `exact`, by what the instruction's words ask for:

| instruction | the authors' rule (`original`) | ours (`strict`) |
|---|---|---|
| keywords | in any place, also inside another word; a full stop is any sign | whole words |
| letter_frequency | of the text in small letters | of the text, NFC |
| response_language, english_* | a text that the detector cannot tell follows | such a text does not |
| english_capital | the detector is shown the capitals, which it hardly reads | or the same in small letters |
| number_words, capital_word_frequency, number_sentences | see `ifeval_words` | see there |
| number_paragraphs | divided by `***` in any place | by lines of `***` alone |
| nth_paragraph_first_word | by two line breaks; empty paragraphs shift the count | by blank lines |
| number_placeholders | `[]`, links and `[ ]` too | something in brackets that is no link |
| postscript | the mark in any place | begins a line, something follows |
| number_bullet_lists | rules (`---`) too | a mark `- * + •`, a space, something |
| constrained_response | holds one of the three sentences | one of them, and none of the others |
| number_highlighted_sections | a bullet's asterisk may open one | pairs of asterisks around words |
| multiple_sections | mark and number in any place | at the beginning of a line, different numbers |
| json_format | any value, NaN too | an object or a list |
| title | to the last `>>` of the line, whatever is between | no brackets inside |
| two_responses | six asterisks or more | six |
| repeat_prompt | sign for sign; no answer is needed | word for word, perhaps in quotation marks; an answer follows |
| end_checker | also as the end of a longer word | whole words; marks after it do not matter |
| quotation | `"` at both ends | also “ ”; something between them |
| no_comma | `,` | also 、 ， ، |

Two things of the scripts cannot be repeated. Their language detector draws at random; here its seed is fixed. Where the
letter to be counted is a sign (`#`, `!`), they draw another letter; here the sign is counted. And of their regular
expressions in keywords only the full stop is kept: a pattern from a data file may run for ever.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from caravan.errors import UserError, did_you_mean
from caravan.eval.scoring import ifeval_words as counted
from caravan.eval.scoring.ifeval_arguments import Kind, checked

Arguments = Mapping[str, Any]
CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
DETECTED = 100_000  # characters: langdetect reads 10,000 of them, addresses left out
STOPS = frozenset(".,?!'\"")
SMALL_MARKS = "\"'“”‘’*_#>("

DIVIDER = re.compile(r"\s?\*\*\*\s?")
OWN_DIVIDER = re.compile(r"^[^\S\n]*\*{3}[^\S\n]*$", re.M)
BULLET = re.compile(r"\s*[-*+•][^\S\n]+(?=[^\n]*\w)")
HIGHLIGHT = re.compile(r"(?<!\*)(\*{1,3})(?![*\s])[^*\n]*[^*\n\s]\1(?!\*)")
PLACEHOLDER = re.compile(r"\[(?=[^\[\]\n]*[^\W_])[^\[\]\n]+\](?!\()")
TITLE = re.compile(r"<<([^<>\n]+)>>")
COMMAS = re.compile("[,、，،]")


class Found(NamedTuple):
    """Whether an instruction was followed, and what was asked and found."""

    followed: bool
    said: str


@dataclass(frozen=True, slots=True)
class Instruction:
    """An instruction of a prompt, with the arguments that it needs."""

    id: str
    arguments: Arguments


def check(instruction: Instruction, response: str, *, exact: bool) -> Found:
    """Whether a response follows an instruction; a blank one follows none. See the module."""
    if not response.strip():
        return Found(False, "an empty response")
    decide, arguments = CHECKS[instruction.id][0], instruction.arguments
    if exact:
        response, arguments = _nfc(response), {name: _nfc(value) for name, value in arguments.items()}
    return decide(response, arguments, exact)


def _nfc(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_nfc, value))
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


def instruction(own_id: Any, arguments: Any, where: str) -> Instruction:
    """The instruction, its arguments checked; null counts as absent. `UserError` names what is wrong."""
    if not isinstance(own_id, str) or own_id not in CHECKS:
        raise UserError(f"no instruction {own_id!r}", where=where, fix=did_you_mean(str(own_id), CHECKS))
    if not isinstance(arguments, Mapping):
        raise UserError(f"the kwargs of {own_id} are no object", where=where, fix="write {} where there are none")
    return Instruction(own_id, checked(own_id, arguments, CHECKS[own_id][1], where))


def _language_of(text: str) -> str | None:
    """The language that langdetect, seeded, names; None where it cannot tell."""
    from langdetect import DetectorFactory, detect
    from langdetect.lang_detect_exception import LangDetectException

    DetectorFactory.seed = 0  # without it, answers change between runs
    try:
        return str(detect(text[:DETECTED]))
    except LangDetectException:
        return None


def _in_language(text: str, code: str, exact: bool) -> Found:
    found = _language_of(text)
    if found is None:
        return Found(not exact, f"{code}, cannot be told")
    return Found(code in ((found, found.partition("-")[0]) if exact else (found,)), f"{code}, is {found}")


def _compared(count: int, relation: str, bound: int) -> Found:
    return Found(count < bound if relation == "less than" else count >= bound, f"{relation} {bound}, has {count}")


def _equal(count: int, wanted: int) -> Found:
    return Found(count == wanted, f"{wanted}, has {count}")


def _occurrences(word: str, text: str, exact: bool) -> int:
    if not exact:
        pattern = ".".join(map(re.escape, word.strip().split(".")))
        return sum(1 for _ in re.finditer(pattern, text, re.I))
    return _whole(word, " ".join(text.casefold().split()))


def _whole(word: str, text: str) -> int:
    """How often a word stands in a folded text, not inside another word; scripts without spaces have no inside."""
    word = " ".join(word.casefold().split())
    count, start = 0, text.find(word)
    while start >= 0:
        end = start + len(word)
        if _joined(text[start - 1 : start], word[0]) or _joined(text[end : end + 1], word[-1]):
            end = start + 1
        else:
            count += 1
        start = text.find(word, end)
    return count


def _joined(neighbour: str, edge: str) -> bool:
    if not neighbour or counted.UNSPACED.match(neighbour) or counted.UNSPACED.match(edge):
        return False
    return _inner(neighbour) and _inner(edge)


def _inner(sign: str) -> bool:
    return sign.isalnum() or unicodedata.category(sign).startswith("M")  # vowel signs and accents are no letters


def _existence(text: str, own: Arguments, exact: bool) -> Found:
    missing = [word for word in own["keywords"] if not _occurrences(word, text, exact)]
    return Found(not missing, f"missing: {', '.join(missing)}" if missing else "all there")


def _frequency(text: str, own: Arguments, exact: bool) -> Found:
    return _compared(_occurrences(own["keyword"], text, exact), own["relation"], own["frequency"])


def _forbidden(text: str, own: Arguments, exact: bool) -> Found:
    folded = " ".join(text.casefold().split())

    def there(word: str) -> bool:
        return bool(_whole(word, folded) if exact else re.search(rf"\b{re.escape(word)}\b", text, re.I))

    used = [word for word in own["forbidden_words"] if there(word)]
    return Found(not used, f"has: {', '.join(used)}" if used else "has none")


def _letters(text: str, own: Arguments, _: bool) -> Found:
    return _compared(text.lower().count(own["letter"].strip().lower()), own["let_relation"], own["let_frequency"])


def _language(text: str, own: Arguments, exact: bool) -> Found:
    return _in_language(text, own["language"], exact)


def _sentences(text: str, own: Arguments, exact: bool) -> Found:
    count = counted.sentences(text) if exact else counted.published_sentences(text)
    return _compared(count, own["relation"], own["num_sentences"])


def _words(text: str, own: Arguments, exact: bool) -> Found:
    count = len(counted.words(text)) if exact else counted.published_words(text)
    return _compared(count, own["relation"], own["num_words"])


def _paragraphs(text: str, own: Arguments, exact: bool) -> Found:
    parts = (OWN_DIVIDER if exact else DIVIDER).split(text)
    if any(not part.strip() for part in parts[1:-1]):
        return Found(False, "an empty paragraph")
    return _equal(sum(bool(part.strip()) for part in parts), own["num_paragraphs"])


def _nth_paragraph(text: str, own: Arguments, exact: bool) -> Found:
    """The authors leave empty paragraphs out of the number, but not out of the order."""
    parts = re.split(r"\n\s*\n", text.strip()) if exact else text.split("\n\n")
    count, nth = sum(bool(part.strip()) for part in parts), own["nth_paragraph"]
    if count != own["num_paragraphs"]:
        return Found(False, f"{own['num_paragraphs']} paragraphs, has {count}")
    first = (parts[nth - 1].split() or [""])[0] if nth <= count else ""
    if exact:
        word = re.split(r"[.,?!:;…]", first.strip(SMALL_MARKS))[0].strip(SMALL_MARKS).casefold()
        return Found(word == own["first_word"].strip().casefold(), f"{own['first_word']!r}, is {word!r}")
    first = first.lstrip("'").lstrip('"')
    end = next((place for place, sign in enumerate(first) if sign in STOPS), len(first))
    word = first[:end].lower()
    return Found(word == own["first_word"].lower(), f"{own['first_word']!r}, is {word!r}")


def _placeholders(text: str, own: Arguments, exact: bool) -> Found:
    if exact:
        count = sum(1 for _ in PLACEHOLDER.finditer(text))
    else:
        count = sum(map(_bracketed, text.split("\n")))
    return _compared(count, "at least", own["num_placeholders"])


def _bracketed(line: str) -> int:
    """From each [ to the next ], what stands between does not matter."""
    count, start = 0, line.find("[")
    while start >= 0 and (end := line.find("]", start)) >= 0:
        count, start = count + 1, line.find("[", end)
    return count


def _postscript(text: str, own: Arguments, exact: bool) -> Found:
    mark = own["postscript_marker"].strip()
    if exact:
        spaced = r"\.\s?".join(re.escape(part) for part in mark.removesuffix(".").split("."))
        begun = re.search(rf"^[^\w\n]*{spaced}(?!\w)", text, re.I | re.M)
        there = begun is not None and counted.WORDY.search(text, begun.end()) is not None
    else:
        known = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
        usual = ".".join(map(re.escape, mark.lower().split(".")))
        there = re.search(known.get(mark, usual), text.lower()) is not None
    return Found(there, mark if there else f"no {mark}")


def _bullets(text: str, own: Arguments, exact: bool) -> Found:
    lines = text.split("\n")
    if exact:
        return _equal(sum(BULLET.match(line) is not None for line in lines), own["num_bullets"])
    dashes = sum(line.lstrip().startswith("-") for line in lines)
    stars, number = 0, 0
    while number < len(lines):
        begun = lines[number].lstrip()
        if begun == "*" and number + 1 < len(lines):
            number += 1  # the line break is the sign after the asterisk: the next line belongs to it
            stars += 1
        elif begun.startswith("*") and begun[1:2] not in ("", "*"):
            stars += 1
        number += 1
    return _equal(stars + dashes, own["num_bullets"])


def _constrained(text: str, _: Arguments, exact: bool) -> Found:
    said = [answer for answer in CONSTRAINED if answer in text]
    return Found(len(said) == 1 if exact else bool(said), " ".join(said) or "none of the three answers")


def _highlights(text: str, own: Arguments, exact: bool) -> Found:
    """The authors count single and double asterisks each by itself."""
    if exact:
        begun = ((line, BULLET.match(line)) for line in text.split("\n"))
        lines = (line[bullet.end() :] if bullet else line for line, bullet in begun)
        count = sum(bool(counted.WORDY.search(match[0])) for line in lines for match in HIGHLIGHT.finditer(line))
    else:
        single = sum(bool(match[0].strip("*").strip()) for match in re.finditer(r"\*[^\n*]*\*", text))
        double = sum(bool(match[0][2:-2].strip()) for match in re.finditer(r"\*\*[^\n*]*\*\*", text))
        count = single + double
    return _compared(count, "at least", own["num_highlights"])


def _sections(text: str, own: Arguments, exact: bool) -> Found:
    mark = own["section_spliter"].strip()
    if exact:
        count = len(set(re.findall(rf"^[^\w\n]*{re.escape(mark)}[^\S\n]*(\d+)(?!\w)", text, re.M)))
    else:
        pattern = ".".join(map(re.escape, mark.split("."))) + r"\s?\d+"
        count = sum(1 for _ in re.finditer(pattern, text))
    return _compared(count, "at least", own["num_sections"])


def _json(text: str, _: Arguments, exact: bool) -> Found:
    text = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    try:
        value = json.loads(text.removesuffix("```").strip(), parse_constant=_no_constant if exact else None)
    except (ValueError, RecursionError) as error:
        return Found(False, f"not JSON: {error}"[:100])
    return Found(not exact or isinstance(value, dict | list), f"a value of kind {type(value).__name__}")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no value")


def _title(text: str, _: Arguments, exact: bool) -> Found:
    if exact:
        there = any(match[1].strip() for match in TITLE.finditer(text))
    else:
        spans = ((line, line.find("<<"), line.rfind(">>")) for line in text.split("\n"))
        there = any(
            0 <= start < end - 2 and line[start : end + 2].lstrip("<").rstrip(">").strip() for line, start, end in spans
        )
    return Found(there, "has one" if there else "no <<title>>")


def _two_responses(text: str, _: Arguments, exact: bool) -> Found:
    parts = re.split(r"(?<!\*)\*{6}(?!\*)", text) if exact else text.split("******")
    given = [part.strip() for part in parts if part.strip()]
    if len(given) != 2 or any(not part.strip() for part in parts[1:-1]):
        return Found(False, f"2 responses, has {len(given)} of {len(parts)} parts")
    return Found(given[0] != given[1], "2 responses, both the same" if given[0] == given[1] else "2 responses")


def _repeat(text: str, own: Arguments, exact: bool) -> Found:
    asked = own["prompt_to_repeat"].strip()
    if not exact:
        return Found(text.strip().lower().startswith(asked.lower()), "the request first")
    said, asked = (" ".join(x.casefold().strip(SMALL_MARKS + " \n").split()) for x in (text, asked))
    if not said.startswith(asked):
        return Found(False, "the request first, word for word")
    answered = counted.WORDY.search(said, len(asked)) is not None
    return Found(answered, "the request, then an answer" if answered else "the request, no answer")


def _end(text: str, own: Arguments, exact: bool) -> Found:
    wanted = own["end_phrase"].strip()
    if exact:
        said, wanted = (" ".join(x.casefold().strip(SMALL_MARKS + " \n").split()) for x in (text, wanted))
        there = said.endswith(wanted) and not _joined(said[: -len(wanted)][-1:], wanted[:1])
    else:
        said = text.strip().strip('"').lower()
        there = said.endswith(wanted.lower())
    return Found(there, f"ends {said[-40:]!r}")


def _quotation(text: str, _: Arguments, exact: bool) -> Found:
    text = text.strip()
    ends = text[0], text[-1]
    if not exact:
        return Found(len(text) > 1 and ends == ('"', '"'), f"from {ends[0]} to {ends[1]}")
    wrapped = ends in (('"', '"'), ("“", "”")) and bool(text[1:-1].strip())
    return Found(wrapped, f"from {ends[0]} to {ends[1]}")


def _capital_words(text: str, own: Arguments, exact: bool) -> Found:
    count = sum(w.isupper() for w in counted.words(text)) if exact else counted.published_capitals(text)
    return _compared(count, own["capital_relation"], own["capital_frequency"])


def _capital(text: str, _: Arguments, exact: bool) -> Found:
    if not text.isupper():
        return Found(False, "not all capitals")
    found = _in_language(text, "en", exact)
    return found if found.followed or not exact else _in_language(text.lower(), "en", exact)


def _lowercase(text: str, _: Arguments, exact: bool) -> Found:
    return _in_language(text, "en", exact) if text.islower() else Found(False, "not all small letters")


def _no_comma(text: str, _: Arguments, exact: bool) -> Found:
    count = len(COMMAS.findall(text)) if exact else text.count(",")
    return Found(not count, f"none, has {count}")


# fmt: off
CHECKS: dict[str, tuple[Callable[[str, Arguments, bool], Found], dict[str, Kind]]] = {
    "keywords:existence": (_existence, {"keywords": "texts"}),
    "keywords:frequency": (_frequency, {"keyword": "text", "frequency": "count", "relation": "relation"}),
    "keywords:forbidden_words": (_forbidden, {"forbidden_words": "texts"}),
    "keywords:letter_frequency": (_letters, {"letter": "letter", "let_frequency": "count", "let_relation": "relation"}),
    "language:response_language": (_language, {"language": "language"}),
    "length_constraints:number_sentences": (_sentences, {"num_sentences": "count", "relation": "relation"}),
    "length_constraints:number_words": (_words, {"num_words": "count", "relation": "relation"}),
    "length_constraints:number_paragraphs": (_paragraphs, {"num_paragraphs": "count"}),
    "length_constraints:nth_paragraph_first_word":
        (_nth_paragraph, {"num_paragraphs": "count", "nth_paragraph": "place", "first_word": "text"}),
    "detectable_content:number_placeholders": (_placeholders, {"num_placeholders": "count"}),
    "detectable_content:postscript": (_postscript, {"postscript_marker": "text"}),
    "detectable_format:number_bullet_lists": (_bullets, {"num_bullets": "count"}),
    "detectable_format:constrained_response": (_constrained, {}),
    "detectable_format:number_highlighted_sections": (_highlights, {"num_highlights": "count"}),
    "detectable_format:multiple_sections": (_sections, {"section_spliter": "text", "num_sections": "count"}),
    "detectable_format:json_format": (_json, {}),
    "detectable_format:title": (_title, {}),
    "combination:two_responses": (_two_responses, {}),
    "combination:repeat_prompt": (_repeat, {"prompt_to_repeat": "text"}),
    "startend:end_checker": (_end, {"end_phrase": "text"}),
    "startend:quotation": (_quotation, {}),
    "change_case:capital_word_frequency":
        (_capital_words, {"capital_frequency": "count", "capital_relation": "relation"}),
    "change_case:english_capital": (_capital, {}),
    "change_case:english_lowercase": (_lowercase, {}),
    "punctuation:no_comma": (_no_comma, {}),
}
# fmt: on
