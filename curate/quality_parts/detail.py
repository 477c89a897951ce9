"""How much the answer says that was not said before, on a log scale, against what the prompt asks for."""

from typing import Final

import numpy as np

from caravan.curate import phrases
from caravan.curate.exchanges import Exchanges, Floats, table

VERSION = 3
KIND: Final = "scale"
WEIGHT = 0.6

_A_RUN = 5  # what it takes to say where a run stands that is taken over, in characters
_CLOSED, _BRIEF = 30, 200  # characters that answer a closed question, and fill a sentence or two
_BEYOND = 0.5  # what the log of more than that counts
_MUCH = 1500  # about a page: more says no more
_LOG: Floats = np.round(np.log1p(np.arange(_MUCH + 1.0)), 9)  # numpy's last digits depend on the processor


def score(e: Exchanges) -> Floats:
    """How much the answer says that neither its prompt nor the answer itself has said already, on a log scale.

    From .3 for nothing (a right answer may be short) to 1 for a page. What is counted is the steps of a Lempel-Ziv
    parse of the answer after its prompt: about what it takes to write the answer down for somebody who has the
    prompt (Li et al. 2004, "The similarity metric"). An answer that copies its input or says a thing five times has
    said little, however long it is. What goes beyond a closed question, or a task for a sentence or two, counts half.
    """
    from caravan.curate import text_kernels as kernels

    added, taken = np.zeros((2, e.follows.size), np.int64)
    texts = (*kernels.joined(e.prompts.lower), *kernels.joined(e.answers.lower))
    kernels.news(*texts, e.follows, table(), added, taken)
    closed, brief = phrases.CLOSED.found(e.prompts.task), phrases.BRIEF.found(e.prompts.task)
    said = _LOG[np.minimum(_MUCH, added + _A_RUN * taken)]
    asked = _LOG[np.where(closed, _CLOSED, np.where(brief, _BRIEF, _MUCH))]
    counted: Floats = np.minimum(said, asked) + _BEYOND * np.maximum(0.0, said - asked)
    return 0.3 + 0.7 * counted / float(_LOG[_MUCH])
