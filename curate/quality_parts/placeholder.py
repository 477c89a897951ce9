"""Whether the answer stands for one that was never written."""

import re
from typing import Final

import numpy as np

from caravan.curate import phrases
from caravan.curate.exchanges import Exchanges, Floats

VERSION = 2
KIND: Final = "gate"

# The answer as a whole is one of these.
PLACEHOLDER = re.compile(
    r"\W*(?:n\.?/a\.?|no ?(?:in|out)put|todo|tbd|to be (?:done|added|determined)|lorem ipsum.*|placeholder"
    r"|(?:your |the |my )?(?:answer|output|response|text|content)(?: goes)? here|xxxx+|see (?:above|below|attached))\W*"
    r"|\W*[\[<{]+(?:insert|your|enter|add|fill in)\b[^\]>}]{0,60}[\]>}]+\W*|[\s.…_-]+",
    re.DOTALL,
)
BLANK_TO_FILL = phrases.listed(
    "[/<", r"\[(?:insert|add|your|enter|fill in|todo)\b[^\]\n]{0,60}\]", r"<(?:insert|your|todo)\b[^>\n]{0,40}>"
)


def score(e: Exchanges) -> Floats:
    """0 where the whole answer stands for one that was never written ("<noinput>", "TODO"), .95 with blanks to fill."""
    short = (e.answers.whole.str.len_chars() < 80).to_numpy()
    blanks = BLANK_TO_FILL.found(e.answers.lower)
    return np.where(phrases.each(PLACEHOLDER.fullmatch, e.answers.lower, short), 0.0, np.where(blanks, 0.95, 1.0))
