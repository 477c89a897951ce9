"""Whether the answer runs on into the next exchange, or ends in the marks of a chat template."""

import re
from typing import Final

import numpy as np

from caravan.curate import phrases
from caravan.curate.exchanges import Exchanges, Floats

VERSION = 2
KIND: Final = "gate"

MARKS = phrases.listed(
    "<|/inst]/</s>/<s>/##/human:/user:/instruction:",
    r"<\|(?:endoftext|end|im_end|im_start|eot_id|eos|user|assistant|system)\|>|\[/?inst\]|</?s>(?:\s|$)",
    r"\n#{2,4} ?(?:human|instruction|input|response|user|assistant):",
    r"\n(?:human|user|instruction): ",
)
_IN_PROMPT = re.compile(
    r"<\||\[/?inst|</?s>|#{2,4}|human:|user|instruct|dialog|conversation|chat|template|example|html"
)


def score(e: Exchanges) -> Floats:
    """.4 where a mark of the next turn or of a template's end is left in the answer and its prompt has none such."""
    found = MARKS.found(e.answers.lower)
    wanted = phrases.each(_IN_PROMPT.search, e.prompts.lower, found)
    return np.where(found & ~wanted, 0.4, 1.0)
