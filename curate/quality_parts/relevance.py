"""Whether the answer takes up what its prompt is about."""

from typing import Final

import numpy as np

from caravan.curate import phrases
from caravan.curate.exchanges import Exchanges, Floats

VERSION = 1
KIND: Final = "gate"


_STEMS = 10
_ON_TOPIC = 0.2
_OFF_TOPIC = 0.4


def score(e: Exchanges) -> Floats:
    """Whether the answer takes up what its prompt is about: a gate, 1 once a fifth of the smaller text's stems are.

    Down to .4 where nothing is, and less far down the fewer stems there are to judge by: a label or a number says
    nothing. Nor is anything said where the task is to leave the prompt's language. An answer may also take up the
    exchange before.
    """
    from caravan.curate import text_kernels as kernels

    of_prompts, of_answers = e.prompts.stems, e.answers.stems
    asked, said = np.diff(of_prompts[1]), np.diff(of_answers[1])
    stems, common = np.zeros((2, e.follows.size), np.int64)
    kernels.shared(*of_prompts, *of_answers, e.follows, stems, common)
    evidence = np.minimum(1.0, np.minimum(said / _STEMS, 2 * asked / _STEMS))
    shared = common / np.maximum(1, np.minimum(np.minimum(stems, said), _STEMS))
    values = 1 - (1 - _OFF_TOPIC) * evidence * np.maximum(0.0, 1 - shared / _ON_TOPIC)
    return np.where((asked == 0) | (said == 0) | phrases.TRANSLATE.found(e.prompts.task), 1.0, values)
