"""Phrases that the quality parts look for. English mostly, the gist in a dozen other languages.

They are looked for in lower case. A regular expression of many alternatives is slow, so each list names hints: every
phrase of the list holds one of them, and a text without any is not searched further.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Phrases:
    """A list of patterns, and the hints (literal, lower case) of which each match holds at least one, or `word`.

    `word` is a hint in ASCII that is part of too many words: it counts only where no other letter touches it.
    """

    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    word: str = ""

    def found(self, lower: pl.Series) -> Flags:
        """Whether each text, in lower case, holds one of the phrases."""
        hinted = lower.str.contains_any(list(self.hints))
        if self.word:
            hinted |= lower.str.contains(rf"(?-u:\b){self.word}(?-u:\b)")
        return each(self.pattern.search, lower, hinted.to_numpy())


def each(test: Callable[[str], object], texts: pl.Series, where: Flags) -> Flags:
    """Whether each of the texts where a flag stands passes the test; the others do not."""
    passed = where.copy()
    passed[where] = [bool(test(text)) for text in texts.filter(pl.Series(where)).to_list()]
    return passed


def listed(hints: str, *patterns: str, word: str = "") -> Phrases:
    """A list of patterns; hints are separated by slashes."""
    return Phrases(tuple(hints.split("/")), re.compile("|".join(patterns)), word)


CLOSED = listed(
    "yes or no/true or false/classif/categor/which of/option/choose/select/multiple/one word/single word/only the"
    "/just the/sentiment/positive/how many/how much/what /calculate/compute/solve/convert/translate/spell/who /when "
    "/name /fill in/extract/identify/label/) /oder nein/ou non/o no/или нет/是否/是不是/哪一个/翻译/分类/多少",
    r"\b(?:yes or no|true or false|classif|categor|which of the following|options?:|choose|select the|multiple.choice"
    r"|one word|single word|only the|just the (?:answer|number|name)|sentiment|positive or negative|how many|how much"
    r"|what (?:year|date|is the (?:name|capital|answer|value))|calculate|compute|solve|convert|translate|spell"
    r"|who (?:is|was|wrote|invented|won)|when (?:is|was|did)|name (?:a|an|one|the)\b|fill in|extract|identify|label)",
    r"(?:^|\s)\(?[a-d]\) ",
    r"ja oder nein|oui ou non|sí o no|да или нет|是否|是不是|哪一个|翻译|分类|多少",
)
BRIEF = listed(
    "brief/short/concise/summar/one sentence/single sentence/a sentence/tldr/tl;dr/rewrite/rephrase/paraphrase/edit"
    "/correct/headline/title/slogan/tweet/haiku/joke/caption/kurz/résum/resum/кратко/概括/总结/简短/一句话/要約",
    r"\b(?:brief|short|concise|summar|one sentence|single sentence|in a sentence|tl;?dr|rewrite|rephrase|paraphrase"
    r"|edit\b|correct|headline|title|slogan|tweet|haiku|joke|caption|kurz|résum|resum)",
    r"кратко|概括|总结|简短|一句话|要約",
)
TRANSLATE = listed(
    "transl/tradu/übersetz/vertaal/terjemah/перев/翻译/翻譯/翻訳/번역/ say ",
    r"\b(?:transl|tradu|übersetz|vertaal|terjemah)|перев[её]д|翻译|翻譯|翻訳|번역",
    r"\b(?:do you|to|would you) say .{1,80} in \w",
)

# Words that say nothing of a topic.
COMMON = """
about above according after again against along already also although always among another answer anything
appropriate around article asked available based because become been before being below best better between both
called came case certain change choose come complete consider contain correct could create describe described
details different does doing done down during each either else ensure even every example examples explain fact feel
find first following follow found from full further generate give given goes going good great have having help here
however idea identify important include including information input instruction into itself just keep kind know
large last later least less like line list little long look made main make making many mean might more most much
must name need never next note number often once only open option order other others output over paragraph part
passage people perhaps person phrase place please point possible present problem provide provided question quite
rather read really reason right same says second sentence several should show similar simple since small some
someone something statement still story such suggest sure take tell text than thank that their them then there these
they thing think this those though three through time times together told topic true type under until upon used
useful user using various very want well were what when where whether which while whole will with within without
word words work would write written year your yourself como pour avec dans plus être cette sont aber oder eine einer
nicht sich auch wird werden über este esta pero porque cuando donde tiene sobre entre para
"""
