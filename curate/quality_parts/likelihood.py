"""Whether the prompt makes the answer likelier, by a small language model (any transformers folder; extra `lm`)."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import Field, JsonValue

import caravan.curate.filter as contract
from caravan.curate.exchanges import Exchanges, Floats
from caravan.curate.models import folder
from caravan.curate.models.folder import Device

VERSION = 1
KIND: Final = "gate"

_TOKENS = 64  # of an answer: later ones follow from the earlier, whatever the prompt
_A_TOKEN = 0.5  # nats that a token must gain, on the average,
_ENOUGH = 12.0  # and no more than that all together
_FLOOR = 0.3
_DIGITS = 4  # a GPU and a CPU agree on them


class Settings(contract.Settings):
    """`model`: a causal language model's folder. `prompt_tokens`: a longer prompt is cut at its beginning."""

    model: str
    device: Device = "auto"
    prompt_tokens: int = Field(default=384, ge=16, le=8192)


def fingerprint(settings: Settings) -> dict[str, JsonValue]:
    """SHA-256 of the model's files."""
    return {"files": folder.fingerprint(Path(settings.model).expanduser())}


def scorer(settings: Settings) -> Callable[[Exchanges], Floats]:
    """Load the model; `UserError` where it cannot be."""
    from caravan.curate.models.language import LanguageModel

    model = LanguageModel(Path(settings.model).expanduser(), settings.device, prompt_tokens=settings.prompt_tokens)

    def score(exchanges: Exchanges) -> Floats:
        """A gate: 1 once the prompt has helped the answer's first 64 tokens by 12 nats, or half a nat a token.

        Down to .3 where it has not helped at all. An answer may also take up the exchange before; nothing is said
        of an answer without any prompt.
        """
        prompts, answers = folder.asked(exchanges), exchanges.answers.read.to_list()
        gains = model.gains(prompts, answers, _TOKENS)
        helped = np.array([gain.sum() for gain in gains])
        tokens = np.array([max(gain.size, 1) for gain in gains])
        share = np.clip(helped / np.minimum(_A_TOKEN * tokens, _ENOUGH), 0.0, 1.0)
        silent = np.array([not prompt for prompt in prompts], np.bool_)
        return np.where(silent, 1.0, np.round(_FLOOR + (1 - _FLOOR) * share, _DIGITS))

    return score
