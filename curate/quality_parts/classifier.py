"""How like the good examples an answer reads, by a fastText classifier that `curate train-quality` fitted."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import JsonValue

import caravan.curate.filter as contract
from caravan.curate.exchanges import Exchanges, Floats
from caravan.curate.models import folder
from caravan.errors import UserError, did_you_mean

VERSION = 1
KIND: Final = "scale"
WEIGHT = 0.5

_LABEL = "__label__"
_DIGITS = 6


class Settings(contract.Settings):
    """`model`: a fastText classifier's .bin file. `good`: its label for what is good."""

    model: str
    good: str = "good"


def fingerprint(settings: Settings) -> dict[str, JsonValue]:
    """SHA-256 of the file."""
    path = Path(settings.model).expanduser()
    if path.exists() and not path.is_file():
        raise UserError("is no file", where=str(path), fix="name the .bin file of a classifier")
    try:
        return {"file": folder.digest(path)}
    except OSError as error:
        fix = "fit one with curate train-quality"
        raise UserError(f"cannot be read ({error.strerror})", where=str(path), fix=fix) from None


def scorer(settings: Settings) -> Callable[[Exchanges], Floats]:
    """Load the classifier; `UserError` where the file is none, or does not know the label."""
    from caravan.curate.models.fasttext import checked, folded

    path = Path(settings.model).expanduser()
    labels = checked(path)
    good = _LABEL + settings.good.removeprefix(_LABEL)
    if good not in labels:
        fix = did_you_mean(good, labels)
        raise UserError(f"knows no label {good!r}", where=str(path), fix=fix)
    try:
        import fasttext
    except ImportError:
        raise UserError("fasttext is not installed", where=str(path), fix="pip install fasttext-predict") from None
    predict = fasttext.load_model(str(path)).predict

    def score(exchanges: Exchanges) -> Floats:
        """The probability that the answer is a good one: a scale."""
        found = []
        for line in folded(exchanges.answers.read):
            names, chances = predict(line, k=len(labels))
            found.append(float(dict(zip(names, chances, strict=True)).get(good, 0.0)))
        return np.asarray(np.round(np.clip(found, 0.0, 1.0), _DIGITS), np.float64)

    return score
