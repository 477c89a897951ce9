"""Whether the answer is its prompt, or opens with it."""

from typing import Final

import numpy as np

from caravan.curate.exchanges import Exchanges, Floats

VERSION = 1
KIND: Final = "gate"


_OPENING = 8  # characters that tell nearly all answers from their prompts


def score(e: Exchanges) -> Floats:
    """How much the answer adds where it is its prompt, or opens with it (prompts of six words and more)."""
    prompts, answers = e.prompts.lower, e.answers.lower
    alike = (prompts.str.head(_OPENING) == answers.str.head(_OPENING)).to_numpy() & (e.prompts.words >= 6)
    values = np.ones(alike.size)
    chosen = np.flatnonzero(alike)
    for i, asked, said in zip(chosen, prompts.gather(chosen), answers.gather(chosen), strict=True):
        prompt, answer = " ".join(asked.split()), " ".join(said.split())
        if answer.startswith(prompt):
            values[i] = min(1.0, 0.05 + 0.95 * (len(answer) - len(prompt)) / len(prompt))
    return values
