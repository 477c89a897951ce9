"""Whether the answer breaks off."""

import re
from typing import Final

import numpy as np

from caravan.curate import phrases
from caravan.curate.exchanges import SPACE, Exchanges, Floats, Texts

VERSION = 3
KIND: Final = "gate"


_ENDS_OPEN = re.compile(
    r"(?:[,:(\[{–—]|\b(?:the|a|an|and|or|but|of|to|in|with|for|that|which|is|are|was|by|as|from|because|y|de|la|el|et"
    r"|le|les|und|der|die|das|ein|eine|di|il|e|и|в|на|не))$",
    re.IGNORECASE,
)
_MAY_END = re.compile(r"\b(?:to|in|with|for|that|is|are|was|by|as|from)$", re.IGNORECASE)
_SENTENCE = r"[.!?][\"'”’)]?\s"
_ENDS_WHOLE = re.compile(r"[.!?…。！？؟।॥՞:;)\]}\"'’”»」』`*_|>~=]$|\d$")


def score(e: Exchanges) -> Floats:
    """Whether the answer breaks off.

    .3 for a fence that never closes or a last line that ends in a comma or a word like "the", .8 for a last line of
    prose (10 words and more; a list of names is none) without an end. "Someone to hang out with" breaks off only in
    an answer that ends other sentences properly.
    """
    text = e.answers.whole
    last = text.str.tail(400).str.split("\n").list.last().str.strip_chars(SPACE)
    length = Texts(last).words
    fenced = last.str.contains("```", literal=True).to_numpy()
    judged = (e.answers.words >= 12) & (length >= 4) & ~fenced
    prose = judged & (length >= 10) & (last.str.count_matches(",", literal=True).to_numpy() * 6 < length)
    ends_open = phrases.each(_ENDS_OPEN.search, last.str.tail(12), judged)
    unmarked = ends_open & ~text.str.contains(_SENTENCE).to_numpy()
    ends_open &= ~phrases.each(_MAY_END.search, last.str.tail(12), unmarked)
    ends_whole = phrases.each(_ENDS_WHOLE.search, last.str.tail(1), prose)
    unclosed = text.str.count_matches("```", literal=True).to_numpy() % 2 == 1
    values = np.where(ends_open, np.where(length >= 6, 0.3, 0.7), np.where(prose & ~ends_whole, 0.8, 1.0))
    return np.where(unclosed, 0.3, values)
