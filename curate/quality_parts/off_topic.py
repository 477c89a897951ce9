"""Whether the answer is about something else altogether."""

from typing import Final

import numpy as np

from caravan.curate.exchanges import Exchanges, Floats

VERSION = 1
KIND: Final = "gate"

_ON_TOPIC = 0.2
_STEMS = 20
_SURE = 8
_OFF_TOPIC = 0.35


def score(e: Exchanges) -> Floats:
    """1 once a fifth of the stems that the answer could take up are, down to .35 for a long answer with none.

    The more an answer says, the surer one is. Of AlpaGasus's 9,000 answers those with one or two stems have none of
    their prompt's in 38 of a hundred cases (labels, names), with three to five in 16, up to ten in 12, up to twenty in
    8, and beyond in 4; of the same answers to other prompts 99 to 85 in a hundred have none. So the gate closes in full
    at eight stems.
    """
    asked, said, common = e.taken_up
    share = common / np.maximum(1, np.minimum(np.minimum(asked, said), _STEMS))
    sure = np.minimum(1.0, said / _SURE)
    values = 1 - (1 - _OFF_TOPIC) * sure * np.maximum(0.0, 1 - share / _ON_TOPIC)
    return np.where((asked == 0) | e.translates, 1.0, values)
