"""How much the answer says, on a log scale, against what the prompt asks for."""

from typing import Final

import numpy as np
import polars as pl

from caravan.curate import phrases
from caravan.curate.exchanges import Exchanges, Floats

VERSION = 1
KIND: Final = "scale"
WEIGHT = 0.7


def score(e: Exchanges) -> Floats:
    """How much the answer says, on a log scale.

    From .3 for one word (a right answer may be short) most of the way up to what the prompt asks for: 6 words for a
    closed question, 40 for something brief, else 150. The last fifth takes 400 words whatever the prompt.
    """
    closed, brief = phrases.CLOSED.found(e.prompts.task), phrases.BRIEF.found(e.prompts.task)
    asked = np.where(closed, 6.0, np.where(brief, 40.0, 150.0))
    said = _log1p(e.answers.words)
    enough = np.minimum(1.0, said / _log1p(asked))
    much = np.minimum(1.0, said / _log1p(np.array([400.0])))
    return 0.3 + 0.5 * enough + 0.2 * much


def _log1p(values: Floats) -> Floats:
    """As the C library has it: numpy's own depends on the processor."""
    return pl.Series(values).log1p().to_numpy()
