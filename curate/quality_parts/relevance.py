"""How much of what its prompt is about the answer takes up."""

from typing import Final

import numpy as np

from caravan.curate.exchanges import Exchanges, Floats

VERSION = 2
KIND: Final = "scale"
WEIGHT = 0.25

_UNKNOWN = 0.7


def score(e: Exchanges) -> Floats:
    """How many of the prompt's stems the answer takes up: of all of them, and of as many as it could; .3 to 1.

    The former favours an answer to the whole prompt, the latter one that keeps to it: the mean of both is taken.
    Nothing is known, and the value .7, where a prompt has no stems or asks to leave its language.
    People's preferences hardly show this; docs/filters/quality.md has what it is worth where the other answer is longer
    and to another question.
    """
    asked, said, common = e.taken_up
    whole = common / np.maximum(1, asked)
    close = np.minimum(1.0, 2.0 * common / np.maximum(1, np.minimum(asked, said)))
    unknown = (asked == 0) | e.translates
    return 0.3 + 0.7 * np.where(unknown, _UNKNOWN, (whole + close) / 2)
