"""What a prompt asks for that can be counted in an answer: so many items, one sentence, a number, code, a table.

A rule has hints (see `phrases.py`), the pattern of a demand, and how well an answer fits the demand that was found: 1
where nothing contradicts it. Demands are looked for where prompts say what to do, in lower case. A rule speaks only
where it is clear: an answer that it cannot read fits.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

NUMBERS = {
    word: number
    for number, words in {
        1: "one|一",
        2: "two|zwei|deux|dos|due|два|两|二",
        3: "three|drei|trois|tres|tre|три|三",
        4: "four|vier|quatre|cuatro|quattro|четыре|四",
        5: "five|fünf|cinq|cinco|cinque|пять|五",
        6: "six|sechs|seis|шесть|六",
        7: "seven|sieben|sept|siete|七",
        8: "eight|acht|huit|ocho|八",
        9: "nine|neun|neuf|nueve|九",
        10: "ten|zehn|dix|diez|dieci|десять|十",
        12: "twelve",
        15: "fifteen",
        20: "twenty",
    }.items()
    for word in words.split("|")
}
_NUMBER = r"(\d{1,3}|" + "|".join(sorted(NUMBERS, key=len, reverse=True)) + ")"

_MARK = re.compile(r"(?m)^[ \t]*(?:[-*•–+]|\(?\d{1,3}[.):]|\(?[a-zA-Z][.)])[ \t]*\S")
_PART = re.compile(r",\s*(?:(?:and|or|und|et|y|e)\b)?|\s+(?:and|or|und|et|y|e)\s+|[、;；]")
_SENTENCE = re.compile(r"(?<=[.!?؟।])[\s\"'”’)\]]+|[。！？\n]+")
_PARAGRAPH = re.compile(r"\n\s*\n")
_WORDS = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_CODE = re.compile(r"[{}();=<>\[\]\\]|^\s*(?:def|class|import|select|function|var|let|const)\b", re.MULTILINE)
_YES_NO = re.compile(r"\b(?:yes|no|not|true|false)\b")
_OPTION = re.compile(r"(?:^|\s)\(?([a-h])[).:]\s*([^\n()]{1,80}?)(?=\s\(?[a-h][).:]|\n|$)")
_LETTER = re.compile(r"(?:^|[^\w'’])\(?[a-hA-H](?:[).:,\s]|$)")
_FIGURE = re.compile(
    r"\d|\b(?:zero|no|none|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fifteen|twenty"
    r"|thirty|forty|fifty|sixty|seventy|eighty|ninety|(?:dozen|hundred|thousand|million|billion|trillion)s?|half|once|twice|several|many"
    r"|never|always|infinite|few|depends|varies|century|ago|january|february|march|april|may|june|july"
    r"|august|september|october|november|december|monday|friday|sunday)\b|[一二三四五六七八九十百千万零两]"
)
_UNWANTED = re.compile(r"\b(?:without|not|avoid|example|e\.g|where)\b|n['’]t\b")


@dataclass(frozen=True)
class Exchange:
    """A prompt in lower case and its answer, and what several rules count in the latter."""

    prompt: str
    answer: str

    @cached_property
    def lower(self) -> str:
        """The answer in lower case."""
        return self.answer.lower()

    @cached_property
    def words(self) -> list[str]:
        """The answer's words in lower case; a run of Chinese is one."""
        return _WORDS.findall(self.lower)

    @cached_property
    def sentences(self) -> int:
        """How many sentences it has, or lines without an end."""
        parts = [part.strip() for part in _SENTENCE.split(self.answer)]
        return sum(" " in part or len(part) > 6 for part in parts)

    @cached_property
    def items(self) -> int:
        """How many items it lists: marked lines, else what commas separate in one line; 0 where it is no list."""
        marked = len(_MARK.findall(self.answer))
        lines = [line for line in self.answer.split("\n") if line.strip()]
        if marked > 1 or not 0 < len(lines) < 3:
            return marked if marked > 1 else 0
        parts = [part for part in _PART.split(lines[-1]) if part.strip()]
        return len(parts) if len(parts) > 1 and all(len(part.split()) < 5 for part in parts) else 0


Fit = Callable[[re.Match[str], Exchange], float]


@dataclass(frozen=True)
class Rule:
    """A demand: hints of which each match holds one, its pattern, and how well an answer fits it, 0..1."""

    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    fit: Fit


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else NUMBERS[text]


def _items(found: re.Match[str], e: Exchange) -> float:
    asked = _number(found[1] or found[2])
    more = _AND_MORE.search(found.string, found.end())
    if not 1 < asked <= 30 or not e.items or more or ("at least" in found[0] and e.items > asked):
        return 1.0
    off = abs(e.items - asked)
    return 1.0 if off == 0 else 0.95 if off == 1 else max(0.5, 0.9 - 0.4 * off / asked)


def _sentences(found: re.Match[str], e: Exchange) -> float:
    asked = _number(found[1] or "one")
    over = e.sentences - asked
    return 1.0 if over <= 0 or asked < 1 else max(0.4, 0.85 - 0.15 * over / asked)


def _one_word(_: re.Match[str], e: Exchange) -> float:
    return 1.0 if len(e.words) <= 3 else 0.8 if len(e.words) <= 8 else 0.5


def _at_most(found: re.Match[str], e: Exchange) -> float:
    asked = int(found[1] or found[2])
    return 1.0 if len(e.words) <= 1.1 * asked or asked < 2 else max(0.4, 0.9 * asked / len(e.words))


def _at_least(found: re.Match[str], e: Exchange) -> float:
    asked = int(found[1])
    return 1.0 if len(e.words) >= 0.8 * asked else max(0.5, len(e.words) / asked)


def _paragraphs(found: re.Match[str], e: Exchange) -> float:
    asked, given = _number(found[1]), len([part for part in _PARAGRAPH.split(e.answer) if part.strip()])
    return 1.0 if given in (asked, 1) else max(0.6, 1 - 0.2 * abs(given - asked))


def _yes_or_no(found: re.Match[str], e: Exchange) -> float:
    sides = _WORDS.findall(found[0])
    return 1.0 if {sides[0], sides[-1]} & {*e.words[:12], *e.words[-6:]} else 0.5


def _options(found: re.Match[str], e: Exchange) -> float:
    """Options by their beginnings: one of "comedians" and "athletes" may be a comedian."""
    options = [word[: max(3, len(word) - 2)] for word in _WORDS.findall(found[1]) if len(word) > 2]
    return 1.0 if not options or any(option in e.lower for option in options) or _YES_NO.search(e.lower) else 0.5


def _lettered(_: re.Match[str], e: Exchange) -> float:
    told = [text.strip(" .") for _, text in _OPTION.findall(e.prompt)]
    if len(told) < 2 or _LETTER.search(e.answer[:200]):
        return 1.0
    return 1.0 if any(text and text in e.lower for text in told) else 0.6


def _is_code(e: Exchange) -> bool:
    return e.answer.startswith("#!") or len(_CODE.findall(e.lower)) > 1


def _code(_: re.Match[str], e: Exchange) -> float:
    return 1.0 if _is_code(e) else 0.5


def _holds(pattern: str, otherwise: float) -> Fit:
    compiled = re.compile(pattern, re.MULTILINE)
    return lambda _, e: 1.0 if compiled.search(e.lower) else otherwise


def _figure(_: re.Match[str], e: Exchange) -> float:
    return 1.0 if _FIGURE.search(e.lower) or len(_OPTION.findall(e.prompt)) > 1 else 0.7


def _short(_: re.Match[str], e: Exchange) -> float:
    return 1.0 if len(e.words) <= 40 else max(0.6, 40 / len(e.words))


def _no_longer(most: float) -> Fit:
    """For a task over a text: the answer against the prompt that holds it, where that has 40 words and more."""

    def fit(_: re.Match[str], e: Exchange) -> float:
        given = len(_WORDS.findall(e.prompt))
        return 1.0 if given < 40 or len(e.words) <= most * given else 0.7

    return fit


def _sum(found: re.Match[str], e: Exchange) -> float:
    a, sign, b = int(found[1]), found[2], int(found[3])
    if sign in "/÷" and (b == 0 or a % b):
        return 1.0
    told = a + b if sign == "+" else a - b if sign in "-−" else a // b if sign in "/÷" else a * b
    figures = re.findall(r"-?\d+", e.answer.replace(",", "").replace("−", "-"))
    return 1.0 if str(told) in figures else 0.5


def _without(found: re.Match[str], e: Exchange) -> float:
    letter, word = found.groups()
    return 0.5 if (letter in e.lower if letter else word in e.words) else 1.0


def _with(found: re.Match[str], e: Exchange) -> float:
    other = _UNWANTED.search(found.string, max(0, found.start() - 60), found.start())
    return 1.0 if other or found[1].strip(" .,;:") in e.lower else 0.6


def _case(found: re.Match[str], e: Exchange) -> float:
    if _is_code(e):  # which changes the case of other texts
        return 1.0
    small = "lower" in found[0] or "small" in found[0]
    letters = [c for c in e.answer if c.lower() != c.upper()]
    return 1.0 if sum((c == c.lower()) == small for c in letters) >= 0.9 * len(letters) else 0.6


def _rule(hints: str, fit: Fit, *patterns: str) -> Rule:
    return Rule(tuple(hints.split("|")), re.compile("|".join(patterns)), fit)


_AND_MORE = re.compile(rf" (?:and|und|et|y|e) {_NUMBER}\b")
_LIST = (
    r"(?:list|name|give|suggest|write|generate|provide|identify|create|find|come up with|state|make|recommend|mention"
    r"|what are|tell|propose|brainstorm|compile|select|pick|outline|nenne|gib|donne|cite|enumera|nombra|da|elenca"
    r"|назови|перечисли|напиши)(?: (?:me|us|at least|exactly|the|top|some|of|a list of|out|mir|moi|any|up))* "
)
_LIST_ZH = r"(?:列出|写出|举出|给出|提供|说出|列举)"
_NO_ITEMS = (
    r"(?!(?:or|to|and|-|–|more|of|for|by|words?|sentences?|paragraphs?|lines?|pages?|letters?|characters?|minutes?|hours?"
    r"|days?|weeks?|months?|years?|percent|dollars?|people|syllables?|stanzas?|verses?|times|digits?|steps?|point|star"
    r"|\w+-\w+)\b|\W)"
)
_MAKE = r"\b(?:write|create|generate|implement|develop|build|code|construct|design)\b[^.?!\n]{0,40}\b"
_ENGINE = (
    r"(?:python|java|javascript|typescript|c\+\+|c#|sql|html|css|php|ruby|rust|golang|bash|shell|kotlin|swift|matlab)"
)
_GIVEN = r"\b(?:with|given|from|on|under|using)\b"
RULES = (
    _rule(
        "|".join([*(f"{digit} " for digit in range(10)), *(f" {word} " for word in NUMBERS), *"个種种条项点"]),
        _items,
        rf"(?:^|[^\w-]){_LIST}{_NUMBER} {_NO_ITEMS}|{_LIST_ZH}(?:{_NUMBER})[个種种条项点]",
    ),
    _rule(
        "sentence|satz|sätze|frase|phrase|oración|предложени|用一句话|一文",
        _sentences,
        r"\b(?:in|with|into|as|using|of|auf|mit|en) (?:just |only |exactly |about |no more than |at most )*"
        rf"(?:\d+ ?(?:-|–|to|or) ?)?{_NUMBER}[ -](?:\w+ )?(?:sentences?|satz|sätzen|frases?|phrases?|oración)\b",
        r"\b(?:explain|describe|summari[sz]e|define|answer|respond|reply|express|what|erkläre)\b[^.?!\n]{0,80}"
        r"\bin (?:a|a single|a short|a brief|einem) (?:sentence|satz)(?=[.?!,:;\n]|$)",
        r"\b(?:one|single)[ -]sentence (?:summary|answer|description|explanation|response|reply|synopsis|review)\b",
        r"одним предложением|用一句话|一文で",
    ),
    _rule(
        "one word|one-word|single word|single-word|1 word|1-word|wort|palabra|un mot|un seul mot|словом|用一个词",
        _one_word,
        r"\b(?:in|with|using|a|just|only|to) (?:a |just |only )*(?:one|single|1)[ -]word\b",
        r"\b(?:einem wort|una palabra|un (?:seul )?mot)\b|одним словом|用一个词",
    ),
    _rule(
        "words|wörter|palabras|mots",
        _at_most,
        r"\b(?:under|at most|no more than|not more than|(?<!no )(?<!not )less than|(?<!no )fewer than|within|up to"
        r"|maximum(?: of)?|max\.?|limit(?:ed)? to|not exceed(?:ing)?|höchstens|máximo(?: de)?)"
        r" (\d{1,4})[ -](?:words|wörter|palabras|mots)\b",
        r"\b(\d{1,4}) words (?:or less|or fewer|max|at most)",
    ),
    _rule(
        "words",
        _at_least,
        r"\b(?:at least|minimum(?: of)?|no less than|(?<!no )(?<!not )(?:over|more than)) (\d{2,4})[ -]words\b",
    ),
    _rule("paragraph", _paragraphs, rf"\b(?:in|with|of|write|a|into) (?:exactly )?{_NUMBER}[ -]paragraphs?\b"),
    _rule(
        "yes or no|yes/no|true or false|true/false|ja oder nein|oui ou non|sí o no|да или нет",
        _yes_or_no,
        r"\b(?:yes or no|yes/no|true or false|true/false|ja oder nein|oui ou non|sí o no|да или нет)\b(?! question)",
    ),
    _rule(
        " or ",
        _options,
        r"\b(?:classify|categori[sz]e|label|identify|determine|decide|tell|predict|detect|say)\b[^.?!\n]{0,120}?"
        r"\b(?:as|either|into|whether|is|are|was)\s+"
        r"((?:[\"'“]?[^\W\d_-]+[\"'”]?,? ){1,8}or (?:an? |the )?[\"'“]?[^\W\d_]+)",
    ),
    _rule("a) |a. |a: ", _lettered, r"(?:^|\s)\(?a[).:] "),
    _rule(
        "python|java|typescript|c++|c#|sql|html|css|php|ruby|rust|golang|bash|shell|kotlin|swift|matlab|regex|regular",
        _code,
        rf"{_MAKE}{_ENGINE}(?!\w)[^.?!\n]{{0,30}}\b(?:function|program|script|code|query|class|method|page|app)\b",
        rf"{_MAKE}(?:sql query|regex|regular expression|(?:function|program|script|class|code) in {_ENGINE})",
    ),
    _rule("json", _holds(r"[{\[]", 0.5), r"\b(?:in|as|to|into) json\b"),
    _rule(
        "table|tabular",
        _holds(r"\||\t|^\s*[+-]{3,}|<t[dr]", 0.7),
        r"\b(?:(?:as|in the form of) an? (?:\w+ )?table|markdown table|table format|tabular)\b",
    ),
    _rule(
        "bullet",
        _holds(r"^\s*[-*•–·]|^\s*\d+[.)]|\S\n.*\n", 0.7),
        r"\b(?:in|as|into|using|with|a|an) (?:\w+ ){0,2}bullet(?:ed)?[ -]?(?:points?|list)\b",
    ),
    _rule(
        "poem|haiku|limerick|sonnet",
        _holds(r"\S\s*\n\s*\S|/|,", 0.6),
        r"\b(?:write|compose|create|generate|make)\b[^.?!\n]{0,30}\b(?:poem|haiku|limerick|sonnet)\b",
    ),
    _rule("haiku", _short, r"\b(?:write|compose|create|generate|make)\b[^.?!\n]{0,30}\ba haiku\b"),
    _rule(
        "question",
        _holds(r"[?？؟]", 0.6),
        r"\b(?:write|generate|create|ask|come up with|formulate|compose|suggest|form|produce|give)"
        r" (?:me )?(?:a|an|\d+|two|three|four|five|ten|some)? ?(?:\w+ ){0,2}questions?\b",
    ),
    _rule(
        "title|headline|slogan|tagline",
        _short,
        r"\b(?:write|generate|create|suggest|give|come up with|provide|find|propose)\b"
        rf"(?:(?!{_GIVEN})[^.?!\n]){{0,30}}\b(?:an?|the) (?:(?!{_GIVEN})\w+ ){{0,3}}"
        r"(?:title|headline|slogan|tagline)\b",
    ),
    _rule(
        "summar|tl;dr|tldr|condense|shorten|fasse|résume|resum|кратко|总结|概括",
        _no_longer(1.0),
        r"\b(?:summar|tl;?dr|condense|shorten|fasse|résume|resum)|总结|概括|кратко",
    ),
    _rule(
        "rewrite|rephrase|paraphrase|proofread|correct the|edit the|edit this",
        _no_longer(2.0),
        r"\b(?:rewrite|rephrase|paraphrase|proofread|correct the|edit (?:the|this))\b",
    ),
    _rule(
        "how many|how much|what year|which year|what date|which date|what percent|which percent|what age|which age"
        "|how old|how tall|how far|how fast|how heavy",
        _figure,
        r"(?:^|[.?!:\n] ?)(?:how many|how much|(?:what|which) (?:year|date|percentage|percent|age)"
        r"|how (?:old|tall|far|fast|heavy) (?:is|was|are|were|do|does))\b",
    ),
    _rule(
        "what is|what's|what’s|calculate|compute|evaluate|solve|work out|how much is",
        _sum,
        r"(?:what is|what['’]s|calculate|compute|evaluate|solve|work out|how much is)"
        r"(?: the (?:value|result|answer|sum|product)(?: of)?)?:?\s+"
        r"(\d{1,6}) ?([-+*x×/÷−]) ?(\d{1,6})(?![\d.]|\w| ?[-+*x×/÷−^%(])",
    ),
    _rule(
        "without|not use|n't use|n’t use|avoid",
        _without,
        r"(?:without(?: using)?|(?:do not|don['’]t|not) use|avoid(?: using)?)(?: the)?"
        r" (?:letters? [\"'“]?([^\W_])(?![^\W_])|words? [\"'“]([^\W_]+)[\"'”])",
    ),
    _rule(
        "the word|the phrase|the keyword",
        _with,
        r"\b(?:include|use|using|contains?|containing|including|with) the (?:word|phrase|keyword)s?"
        r" [\"'“]([^\"'”\n]{2,40})[\"'”]",
    ),
    _rule(
        "lower|upper|capital letters|small letters",
        _case,
        r"\b(?:in|use|using|only|all|entirely) (?:all )?(?:lower ?case|upper ?case|capital letters|small letters)\b",
    ),
)
HINTS = sorted({hint for rule in RULES for hint in rule.hints})
