"""The proof, on the model that is about to be trained, that conversations in one bin do not see each other.

Two conversations lie in a bin. When the first changes, not one bit of the second's hidden states may move; when a later
token changes, no earlier one may. And the logits that the loss computes must be the model's own (some families scale or
cap them after the output layer).
"""

import torch
from torch import Tensor

from caravan.errors import UserError
from caravan.train.loader import Batch
from caravan.train.objective import Objective
from caravan.train.shard import reshard

FIRST, SECOND = 12, 9  # tokens of the two conversations


def probe(objective: Objective, device: torch.device) -> None:
    """Raise `UserError`, with the reason, if the model cannot be trusted with packed bins. Collective: 5 forwards."""
    vocabulary = objective.model.config.get_text_config().vocab_size
    ids = torch.arange(FIRST + SECOND) * 7919 % (vocabulary - 1)
    name = type(objective.model).__name__

    def hidden(changed: int | None) -> tuple[Tensor, Tensor, Tensor]:
        told = ids.clone()
        if changed is not None:
            told[changed] += 1
        torch.manual_seed(0)  # the same dropout each time
        try:
            with torch.no_grad():
                states, logits, own = objective(_bin(told.to(device)), None)
        except (TypeError, NotImplementedError) as error:
            if isinstance(error, TypeError) and "unexpected keyword" not in str(error):
                raise
            raise UserError(
                f"{name} does not work with bins: {error}",
                where=objective.model.config.model_type,
                fix="train another model family",
            ) from None
        reshard(objective)
        return states, logits, own

    states, *_ = hidden(None)
    if not bool(states.isfinite().all()):
        raise UserError(
            f"{name} computes numbers that are not finite: its weights are broken",
            where=objective.model.config.model_type,
            fix="check the weights",
        )
    earlier, *_ = hidden(0)
    if not torch.equal(states[FIRST:], earlier[FIRST:]):
        raise UserError(
            f"conversations in one bin would see each other: {name} does not pass its segments to the attention",
            where=objective.model.config.model_type,
            fix="train another model family",
        )
    later, *_ = hidden(FIRST + SECOND - 1)
    if not torch.equal(states[:-1], later[:-1]):
        raise UserError(
            f"{name} lets a token see later ones",
            where=objective.model.config.model_type,
            fix="train another model family",
        )
    within, *_ = hidden(FIRST)
    if torch.equal(states[-1], within[-1]):
        raise UserError(
            f"{name} does not look at earlier tokens of a conversation: its weights are broken",
            where=objective.model.config.model_type,
            fix="check the weights",
        )
    objective.eval()  # without dropout, which would be another one in each of the two that are compared
    _, logits, own = hidden(None)
    objective.train()
    capped = getattr(objective.model.config.get_text_config(), "final_logit_softcapping", None)
    scale = float(own.float().abs().max())
    if capped or float((logits.float() - own.float()).abs().max()) > 2e-2 * scale:
        raise UserError(
            f"{name} changes its logits after the output layer, which the loss does not",
            where=objective.model.config.model_type,
            fix="train another model family",
        )


def _bin(ids: Tensor) -> Batch:
    none = ids.new_zeros(0)
    positions = torch.cat([torch.arange(FIRST), torch.arange(SECOND)]).to(ids.device)
    return Batch(ids[None], positions[None], (0, FIRST, FIRST + SECOND), none, none, none, none, none, (0, 1))
