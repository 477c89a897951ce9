"""Characters that were broken by a wrong encoding."""

from typing import Final

import numpy as np

from caravan.curate.exchanges import Exchanges, Floats

VERSION = 2
KIND: Final = "gate"

# UTF-8 read as Latin-1 or Windows-1252: what "é", curly quotes, dashes, no-break spaces turn into; and U+FFFD.
MOJIBAKE = (
    r"\ufffd|Ã[\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â€.?|â„¢"
    r"|Â[\u00a0-\u00bf]|ï»¿|[ÐÑ][\u0080-\u00bf][ÐÑ]|ã€|å[\u0080-\u00bf]æ"
)


def score(e: Exchanges) -> Floats:
    """.95 for one broken character, falling to 0 where one in fifty is."""
    found = e.answers.read.str.count_matches(MOJIBAKE).to_numpy()
    length = np.maximum(e.answers.read.str.len_chars().to_numpy(), 1)
    return np.where(found, np.maximum(0.0, 0.95 - 47.5 * found / length), 1.0)
