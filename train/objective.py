"""What a run minimises: the root module that is sharded. The loss is computed inside its forward, so that the output
layer is whole there, and only on supervised positions.

An objective knows what one item is worth (`weights`), how a bin's loss is summed (`score`), and which figures go to the
log (`report`). `forward` divides by nothing: the caller scales by 1 / (what the whole step is worth), and so any split
of a step over bins, ranks and rounds gives the same gradient.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from caravan.train import attention
from caravan.train.loader import Batch
from caravan.train.loss import most_likely, summed_nll
from caravan.train.tokens import Tokens

TURNS = 8  # turns told apart in the log; later ones count as the last


class Outcome(NamedTuple):
    """A bin's scaled loss, with its gradient, and figures [K] to be added up: means are `sums / counts`."""

    loss: Tensor
    sums: Tensor
    counts: Tensor


class Objective(nn.Module):
    """Base of all objectives: a causal language model and how its hidden states of a bin are had."""

    group = 1  # rows of one item

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def judge(self, tokens: Tokens) -> None:
        """Batches are of these tokens from now on."""

    def weights(self, tokens: Tokens) -> npt.NDArray[np.float64]:
        """What each item is worth: a step's loss is the sum over its items divided by the sum of these."""
        raise NotImplementedError

    def score(self, batch: Batch, hidden: Tensor, scale: float) -> Outcome:
        """The loss of a bin from the hidden states [N, H] that predict its targets, times `scale`."""
        raise NotImplementedError

    def report(self, sums: list[float], counts: list[float]) -> dict[str, Any]:
        """The figures for the log, from those of all bins added up."""
        raise NotImplementedError

    def forward(self, batch: Batch, scale: float | None) -> Any:
        """The bin's `Outcome`; without a scale what the leak probe looks at: hidden states and the model's logits."""
        inputs = {
            "input_ids": batch.ids,
            "position_ids": batch.positions,
            "use_cache": False,
            **attention.keywords(batch.boundaries, batch.longest, batch.ids.device),
        }
        if scale is None:
            hidden = self.model.base_model(**inputs)[0][0]
            return hidden, self.head(hidden), self.model(**inputs).logits[0]
        hidden = self.model.base_model(**inputs)[0][0]
        return self.score(batch, hidden[batch.at], scale)

    @property
    def output(self) -> tuple[Tensor, Tensor | None]:
        """Weight [V, H] and bias of the output layer; whole only inside `forward`."""
        layer = self.model.get_output_embeddings()
        return layer.weight, getattr(layer, "bias", None)

    def head(self, hidden: Tensor) -> Tensor:
        """Logits [T, V] of hidden states [T, H]."""
        return nn.functional.linear(hidden, *self.output)


class Sft(Objective):
    """Supervised fine-tuning: the mean negative log likelihood of assistant tokens, each of equal weight."""

    def __init__(self, model: Any, sources: list[str]) -> None:
        super().__init__(model)
        self.sources = sources

    def weights(self, tokens: Tokens) -> npt.NDArray[np.float64]:
        """Supervised tokens of each row."""
        carries = np.concatenate([[0], np.cumsum(tokens.turns != 0, dtype=np.int64)])
        return np.diff(carries[tokens.offsets]).astype(np.float64)

    def score(self, batch: Batch, hidden: Tensor, scale: float) -> Outcome:
        """Sum over tokens. In evaluation also how many answers greedy decoding would give back, word for word.

        It would give back an answer exactly if the most likely token after the true prefix is the true one at each of
        its positions: so one forward tells, without decoding anything.
        """
        weight, bias = self.output
        total, nll = summed_nll(hidden, weight, bias, batch.targets)
        kinds = len(self.sources)
        sums = nll.new_zeros(kinds + TURNS + 1)
        counts = torch.zeros_like(sums)
        for place in (batch.source[batch.segment], kinds + batch.turn.clamp(max=TURNS) - 1):
            sums.index_add_(0, place, nll)
            counts.index_add_(0, place, torch.ones_like(nll))
        if not self.training and batch.rows:
            hit = (most_likely(hidden, weight, bias) == batch.targets).float()
            _, answer = torch.unique(batch.segment * 256 + batch.turn, return_inverse=True)
            answers = int(answer.max()) + 1
            sums[-1] = hit.new_ones(answers).scatter_reduce(0, answer, hit, "amin").sum()
            counts[-1] = answers
        return Outcome(total * scale, sums, counts)

    def report(self, sums: list[float], counts: list[float]) -> dict[str, Any]:
        """`loss`, `loss_by_source`, `loss_by_turn`, and in evaluation `reproduced`."""
        kinds = len(self.sources)
        turns = [f"{n}" for n in range(1, TURNS)] + [f"{TURNS}+"]

        def means(names: list[str], first: int) -> dict[str, float]:
            places = range(first, first + len(names))
            return {n: sums[k] / counts[k] for n, k in zip(names, places, strict=True) if counts[k]}

        figures: dict[str, Any] = {
            "loss": sum(sums[:kinds]) / max(sum(counts[:kinds]), 1),
            "supervised_tokens": int(sum(counts[:kinds])),
            "loss_by_source": means(self.sources, 0),
            "loss_by_turn": means(turns, kinds),
        }
        if counts[-1]:
            figures["reproduced"] = sums[-1] / counts[-1]
        return figures
