"""IFEval's 25 instructions, each a check that a program can make (Zhou et al., 2023, arXiv 2311.07911).

A check gets a response that is not blank and the instruction's own arguments, and says whether it was followed. They
read as the authors' published checks do, with three differences: words and sentences are told apart without another
package's tokenizer, so that counts of sentences may differ by a few; in `strict` a keyword is a text, where the authors
take it for a regular expression; and the language detector has a fixed seed.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from caravan.errors import UserError, did_you_mean

Arguments = Mapping[str, Any]
ENDINGS = re.compile(r"(?<=[.!?])[\"'”’)\]*]*\s+(?=[\"'“‘(\[*]*[^\sa-z])|\n\s*\n")
SHORT = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|Sr|Jr|St|vs|etc|e\.g|i\.e|No|Inc|Ltd|Co|Corp|[A-Z])\.$")
WORD = re.compile(r"\w+")
CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
STOPS = {".", ",", "?", "!", "'", '"'}


@dataclass(frozen=True, slots=True)
class Check:
    """What an instruction asks: the arguments that it needs, by kind, and the test of a response.

    `exactly`: keywords are texts, not regular expressions.
    """

    needs: Mapping[str, type]
    followed: Callable[[str, Arguments, bool], bool]


def follows(instruction: str, response: str, arguments: Arguments, *, exactly: bool) -> bool:
    """Whether a response follows an instruction; a blank one follows none."""
    return bool(response.strip()) and CHECKS[instruction].followed(response, arguments, exactly)


def checked(instruction: Any, arguments: Any, where: str) -> tuple[str, dict[str, Any]]:
    """The instruction with the arguments that it needs; nulls count as absent. `UserError` names what is wrong."""
    if instruction not in CHECKS:
        raise UserError(f"no instruction {instruction!r}", where=where, fix=did_you_mean(str(instruction), CHECKS))
    if not isinstance(arguments, Mapping):
        raise UserError(f"the arguments of {instruction} are no object", where=where, fix="write {} where none are")
    own = {name: value for name, value in arguments.items() if value is not None}
    for name, kind in CHECKS[instruction].needs.items():
        value = own.get(name)
        if isinstance(value, float) and kind is int and value.is_integer():
            own[name] = value = int(value)  # some writers of Parquet make all numbers floats
        if not isinstance(value, kind) or isinstance(value, bool):
            raise UserError(f"{instruction} needs {name!r}, of kind {kind.__name__}", where=where, fix="correct kwargs")
    return str(instruction), own


def sentences(text: str) -> int:
    """How many sentences: what ends in . ! or ? before a space and no small letter, or before a blank line."""
    parts = [part.strip() for part in ENDINGS.split(text) if part.strip()]
    return sum(not SHORT.search(part) for part in parts[:-1]) + bool(parts)


def language(text: str) -> str | None:
    """The language that langdetect, seeded, names; None where it cannot tell."""
    from langdetect import DetectorFactory, detect
    from langdetect.lang_detect_exception import LangDetectException

    before, DetectorFactory.seed = DetectorFactory.seed, 0
    try:
        return str(detect(text))
    except LangDetectException:
        return None
    finally:
        DetectorFactory.seed = before


def _related(count: int, relation: str, number: int) -> bool:
    return count < number if relation == "less than" else count >= number


def _found(keyword: str, text: str, exactly: bool) -> int:
    try:
        return len(re.findall(re.escape(keyword) if exactly else keyword, text, re.IGNORECASE))
    except re.error:  # the authors' script would end here
        return len(re.findall(re.escape(keyword), text, re.IGNORECASE))


def _existence(text: str, own: Arguments, exactly: bool) -> bool:
    return all(_found(str(keyword), text, exactly) for keyword in own["keywords"])


def _frequency(text: str, own: Arguments, exactly: bool) -> bool:
    return _related(_found(own["keyword"], text, exactly), own["relation"], own["frequency"])


def _forbidden(text: str, own: Arguments, _: bool) -> bool:
    return not any(re.search(rf"\b{re.escape(str(w))}\b", text, re.IGNORECASE) for w in own["forbidden_words"])


def _letters(text: str, own: Arguments, _: bool) -> bool:
    return _related(Counter(text.lower())[own["letter"].lower()], own["let_relation"], own["let_frequency"])


def _language(text: str, own: Arguments, _: bool) -> bool:
    return language(text) in (own["language"], None)


def _sentences(text: str, own: Arguments, _: bool) -> bool:
    return _related(sentences(text), own["relation"], own["num_sentences"])


def _words(text: str, own: Arguments, _: bool) -> bool:
    return _related(len(WORD.findall(text)), own["relation"], own["num_words"])


def _paragraphs(text: str, own: Arguments, _: bool) -> bool:
    """Divided by ***: a blank part counts for nothing at either end, and is a mistake between."""
    parts = re.split(r"\s?\*\*\*\s?", text)
    if any(not part.strip() for part in parts[1:-1]):
        return False
    return bool(sum(bool(part.strip()) for part in parts) == own["num_paragraphs"])


def _nth_paragraph(text: str, own: Arguments, _: bool) -> bool:
    """Divided by two line breaks; the first word loses quotes before it and all from its first mark on."""
    parts, nth = text.split("\n\n"), own["nth_paragraph"]
    count = sum(bool(part.strip()) for part in parts)
    if not 1 <= nth <= count or count != own["num_paragraphs"] or not parts[nth - 1].strip():
        return False
    word = parts[nth - 1].split()[0].lstrip("'").lstrip('"')
    end = next((place for place, letter in enumerate(word) if letter in STOPS), len(word))
    return bool(word[:end].lower() == own["first_word"].lower())


def _placeholders(text: str, own: Arguments, _: bool) -> bool:
    return bool(len(re.findall(r"\[[^\[\]\n]*\]", text)) >= own["num_placeholders"])


def _postscript(text: str, own: Arguments, _: bool) -> bool:
    marker = own["postscript_marker"].lower()
    known = {"p.p.s": r"p\.\s?p\.\s?s", "p.s.": r"p\.\s?s\."}
    return re.search(known.get(marker, re.escape(marker)), text.lower()) is not None


def _bullets(text: str, own: Arguments, _: bool) -> bool:
    stars = re.findall(r"^[^\S\n]*\*[^*\n][^\n]*$", text, re.MULTILINE)
    dashes = re.findall(r"^[^\S\n]*-[^\n]*$", text, re.MULTILINE)
    return bool(len(stars) + len(dashes) == own["num_bullets"])


def _constrained(text: str, _own: Arguments, _: bool) -> bool:
    return any(answer in text for answer in CONSTRAINED)


def _highlights(text: str, own: Arguments, _: bool) -> bool:
    """Between single stars and between double ones, each counted by itself, as the authors do."""
    single = [part for part in re.findall(r"\*[^\n*]*\*", text) if part.strip("*").strip()]
    double = [part for part in re.findall(r"\*\*[^\n*]*\*\*", text) if part[2:-2].strip()]
    return bool(len(single) + len(double) >= own["num_highlights"])


def _sections(text: str, own: Arguments, exactly: bool) -> bool:
    mark = re.escape(own["section_spliter"]) if exactly else own["section_spliter"]
    return bool(len(re.findall(rf"{mark}\s?\d+", text)) >= own["num_sections"])


def _json(text: str, _own: Arguments, _: bool) -> bool:
    text = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str, _own: Arguments, _: bool) -> bool:
    """From the first << of a line to its last >>."""
    spans = ((line, line.find("<<"), line.rfind(">>")) for line in text.split("\n"))
    return any(0 <= start < end - 2 and line[start:end].lstrip("<").rstrip(">").strip() for line, start, end in spans)


def _two_responses(text: str, _own: Arguments, _: bool) -> bool:
    parts = text.split("******")
    if any(not part.strip() for part in parts[1:-1]):
        return False
    given = [part.strip() for part in parts if part.strip()]
    return len(given) == 2 and given[0] != given[1]


def _repeat(text: str, own: Arguments, _: bool) -> bool:
    return text.strip().lower().startswith(own["prompt_to_repeat"].strip().lower())


def _end(text: str, own: Arguments, _: bool) -> bool:
    return text.strip().strip('"').lower().endswith(own["end_phrase"].strip().lower())


def _quotation(text: str, _own: Arguments, _: bool) -> bool:
    text = text.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


def _capital_words(text: str, own: Arguments, _: bool) -> bool:
    count = sum(word.isupper() for word in re.findall(r"[^\W_]+(?:[-'’.][^\W_]+)*", text))
    return _related(count, own["capital_relation"], own["capital_frequency"])


def _capital(text: str, _own: Arguments, _: bool) -> bool:
    return text.isupper() and language(text) in ("en", None)


def _lowercase(text: str, _own: Arguments, _: bool) -> bool:
    return text.islower() and language(text) in ("en", None)


def _no_comma(text: str, _own: Arguments, _: bool) -> bool:
    return "," not in text


CHECKS: dict[str, Check] = {
    "keywords:existence": Check({"keywords": list}, _existence),
    "keywords:frequency": Check({"keyword": str, "frequency": int, "relation": str}, _frequency),
    "keywords:forbidden_words": Check({"forbidden_words": list}, _forbidden),
    "keywords:letter_frequency": Check({"letter": str, "let_frequency": int, "let_relation": str}, _letters),
    "language:response_language": Check({"language": str}, _language),
    "length_constraints:number_sentences": Check({"num_sentences": int, "relation": str}, _sentences),
    "length_constraints:number_words": Check({"num_words": int, "relation": str}, _words),
    "length_constraints:number_paragraphs": Check({"num_paragraphs": int}, _paragraphs),
    "length_constraints:nth_paragraph_first_word": Check(
        {"num_paragraphs": int, "nth_paragraph": int, "first_word": str}, _nth_paragraph
    ),
    "detectable_content:number_placeholders": Check({"num_placeholders": int}, _placeholders),
    "detectable_content:postscript": Check({"postscript_marker": str}, _postscript),
    "detectable_format:number_bullet_lists": Check({"num_bullets": int}, _bullets),
    "detectable_format:constrained_response": Check({}, _constrained),
    "detectable_format:number_highlighted_sections": Check({"num_highlights": int}, _highlights),
    "detectable_format:multiple_sections": Check({"section_spliter": str, "num_sections": int}, _sections),
    "detectable_format:json_format": Check({}, _json),
    "detectable_format:title": Check({}, _title),
    "combination:two_responses": Check({}, _two_responses),
    "combination:repeat_prompt": Check({"prompt_to_repeat": str}, _repeat),
    "startend:end_checker": Check({"end_phrase": str}, _end),
    "startend:quotation": Check({}, _quotation),
    "change_case:capital_word_frequency": Check({"capital_frequency": int, "capital_relation": str}, _capital_words),
    "change_case:english_capital": Check({}, _capital),
    "change_case:english_lowercase": Check({}, _lowercase),
    "punctuation:no_comma": Check({}, _no_comma),
}
