"""The metric `exact_match` as published scripts call it: case and punctuation ignored.

It takes out every ASCII punctuation sign, wherever it stands, and nothing else: white space counts, "18.00" is 1800,
"-5" is 5, and brackets vanish. `tulu` needs it as it is; `strict` compares by kind of answer instead.
"""

import string

_WITHOUT = str.maketrans("", "", string.punctuation)


def bare(text: str) -> str:
    """The text as it is compared: lower case, without punctuation."""
    # The metric holds texts in arrays of fixed width, which are padded with zero characters and lose those at the end.
    return text.rstrip("\0").lower().translate(_WITHOUT).rstrip("\0")


def exact_match(prediction: str, reference: str) -> bool:
    """Whether both are the same where case and punctuation do not count."""
    return bare(prediction) == bare(reference)
