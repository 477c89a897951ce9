"""Direct preference optimisation (Rafailov et al., 2023, arXiv 2305.18290): the objective, what the model that is
started from says of every answer, computed once, and pairs held out.

Row 2i of the tokens is the answer that was preferred, row 2i + 1 the other one, after the same prompt.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from caravan.cache import cache_folder, file_sha256, key, written_aside
from caravan.errors import UserError
from caravan.terminal import Progress
from caravan.train.launch import World
from caravan.train.loader import Batch, Bin, batches, share
from caravan.train.loss import log_probabilities
from caravan.train.objective import Objective, Outcome
from caravan.train.rows import Rows
from caravan.train.shard import reshard
from caravan.train.tokens import Tokens

VERSION = 1  # of what the cache holds
FIGURES = (
    "loss",
    "accuracy",
    "margin",
    "chosen_reward",
    "rejected_reward",
    "chosen_log_probability",
    "rejected_log_probability",
)


class Dpo(Objective):
    """The mean over pairs of -log sigmoid(margin), where the margin is the chosen answer's reward less the other's.

    A reward is beta * (log p(answer) - log p(answer) under the reference). `length_normalised` takes an answer's mean
    log-probability a token instead of the sum (Lambert et al., 2024, arXiv 2411.15124, section 5.1.2). All of it in
    fp32, whatever the model computes in.
    """

    group = 2

    def __init__(self, model: Any, sources: list[str], beta: float = 0.1, length_normalised: bool = False) -> None:
        super().__init__(model)
        self.sources = sources
        self.beta = beta
        self.length_normalised = length_normalised
        self.known: dict[str, npt.NDArray[np.float32]] = {}  # reference log-probabilities by the tokens' fingerprint
        self.judged: Tokens | None = None

    def judge(self, tokens: Tokens, reference: npt.NDArray[np.float32] | None = None) -> None:
        """Batches are of these tokens from now on; `reference` [rows] is theirs, where it is not known yet."""
        if reference is not None:
            self.known[tokens.fingerprint] = reference
        if tokens.fingerprint not in self.known:
            raise RuntimeError("nothing is known of how the reference judges these tokens")
        self.judged = tokens

    def weights(self, tokens: Tokens) -> npt.NDArray[np.float64]:
        """One for each pair."""
        return np.ones(len(tokens) // 2)

    def score(self, batch: Batch, hidden: Tensor, scale: float) -> Outcome:
        """Sum over pairs. In evaluation without a reference no loss, and the log-probability of each row as figures."""
        by_token = log_probabilities(hidden, *self.output, batch.targets)
        summed = by_token.new_zeros(len(batch.rows)).index_add(0, batch.segment, by_token)
        lengths = torch.zeros_like(summed).index_add(0, batch.segment, torch.ones_like(by_token))
        if self.judged is None:
            if self.training:
                raise RuntimeError("the reference judges before training begins")
            return Outcome(summed.new_zeros(()), summed, lengths)
        rows = np.array(batch.rows, np.int64)
        ends = self.judged.offsets
        if len(rows) and not np.array_equal(np.diff(batch.boundaries), ends[rows + 1] - ends[rows]):
            raise RuntimeError("the batch is of other tokens than those that are judged")
        before = torch.from_numpy(self.known[self.judged.fingerprint][rows]).to(summed.device)
        if self.length_normalised:
            summed, before = summed / lengths, before / lengths
        chosen, rejected = (self.beta * (summed - before)).view(-1, 2).unbind(1)
        margin = chosen - rejected
        loss = -F.logsigmoid(margin)
        figures = [loss, (margin > 0).float(), margin, chosen, rejected, *summed.view(-1, 2).unbind(1)]
        sums = summed.new_zeros(len(self.sources), len(FIGURES))
        counts = torch.zeros_like(sums)
        each = torch.stack(figures, 1).detach()
        source = batch.source[::2]
        sums.index_add_(0, source, each)
        counts.index_add_(0, source, torch.ones_like(each))
        return Outcome(loss.sum() * scale, sums.flatten(), counts.flatten())

    def report(self, sums: list[float], counts: list[float]) -> dict[str, Any]:
        """The mean of each of `FIGURES`, the number of `pairs`, `loss_by_source` and `margin_by_source`."""
        by_source = np.array(sums).reshape(-1, len(FIGURES))
        pairs = np.array(counts).reshape(-1, len(FIGURES))[:, 0]
        means = by_source.sum(0) / max(pairs.sum(), 1)
        figures: dict[str, Any] = dict(zip(FIGURES, means.tolist(), strict=True))
        figures["pairs"] = int(pairs.sum())
        for name in ("loss", "margin"):
            column = by_source[:, FIGURES.index(name)]
            figures[f"{name}_by_source"] = {
                source: float(total / n) for source, total, n in zip(self.sources, column, pairs, strict=True) if n
            }
        return figures


def reference(
    objective: Dpo,
    tokens: Tokens,
    bins: Sequence[Bin],
    world: World,
    progress: Progress,
    *,
    model: Path | None,
    precision: str,
) -> npt.NDArray[np.float32]:
    """Summed log-probabilities [rows] of the supervised tokens, under the weights as they are; the same on all ranks.

    Collective. With LoRA these are the base's, as adapters start at zero. `bins` hold every pair once; where they are
    those that the first epoch trains on, a pair's loss before the first update is log 2 to the last bit on a CPU.

    Cached by the tokens, the precision, and the bytes of the folder `model` that the weights were read from. Sizes and
    headers would be quicker to read, but two fine-tunings of one model agree in both, and the wrong reference would
    be taken in silence. Without `model` (random weights) nothing is cached. Raises `UserError` where the model gives
    no finite number.
    """
    path = None
    if model is not None and world.rank == 0:  # the other ranks, on other nodes perhaps, get what rank 0 finds
        path = cache_folder() / "reference" / f"{_key(tokens, model, precision)}.npy"
    stored = None if path is None else _stored(path, len(tokens))
    if world.any(stored is not None):
        mine = np.zeros(len(tokens), np.float32) if stored is None else stored
    else:
        mine = _computed(objective, tokens, bins, world, progress)
    found = world.sum(torch.from_numpy(mine)).numpy()  # others hold zeros: the sum is exact
    wrong = np.flatnonzero(~np.isfinite(found))
    if len(wrong):
        raise UserError(
            f"the log-probability of {len(wrong)} of {len(found)} answers is no finite number",
            where=tokens.row_ids[wrong[0]],
            fix="the model that is started from is broken, or does not bear this precision: try --precision fp32",
        )
    if path is not None and stored is None:
        try:
            path.parent.mkdir(exist_ok=True)
            with written_aside(path) as aside, aside.open("wb") as file:
                np.save(file, found)
        except OSError as error:
            progress.warn(f"{path}: {error.strerror}; the next run computes the reference again")
    return found


def _key(tokens: Tokens, model: Path, precision: str) -> str:
    files = sorted([model / "config.json", *model.glob("*.safetensors")])
    with ThreadPoolExecutor(8) as pool:  # hashing lets go of the interpreter's lock
        return key("reference", VERSION, tokens.fingerprint, precision, list(pool.map(file_sha256, files)))


def _stored(path: Path, rows: int) -> npt.NDArray[np.float32] | None:
    """What the cache holds; None where it holds nothing, or a file that was cut off."""
    try:
        values: npt.NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return values if values.shape == (rows,) else None


def _computed(
    objective: Dpo, tokens: Tokens, bins: Sequence[Bin], world: World, progress: Progress
) -> npt.NDArray[np.float32]:
    """This rank's share of the values, zero elsewhere."""
    if sorted(item for bin_ in bins for item in bin_) != list(range(len(tokens) // 2)):
        raise ValueError("the bins do not hold every pair once")
    mine = share(bins, world.rank, world.size)
    training, judged = objective.training, objective.judged
    objective.judged = None
    objective.eval()
    rows: list[int] = []
    parts = []
    with torch.no_grad():
        made = batches(tokens, mine, objective.group, world.device)
        for batch in progress.track(made, "reference", sum(map(len, mine)), "pairs", lambda b: len(b.rows) / 2):
            parts.append(objective(batch, 1.0).sums)
            rows += batch.rows
    reshard(objective)
    objective.train(training)
    objective.judged = judged
    values = np.zeros(len(tokens), np.float32)
    if parts:
        values[rows] = torch.cat(parts).cpu().numpy()
    return values


def split_pairs(rows: Rows, share: float, seed: int) -> tuple[Rows, Rows]:
    """Pairs to train on, and about a `share` (0 to 1) of them held out, by a hash of seed and question.

    The question is the first user message that both dialogues of a pair share. So no prompt is on both sides, nor a
    dialogue on one and its continuation on the other; and a pair stays where it is as others are added.
    """
    user = pl.element().struct.field("role") == "user"
    questions = (
        rows.frame.gather_every(2)
        .select(
            pl.coalesce(
                pl.col("messages").list.eval(pl.element().filter(user).struct.field("content")).list.first(),
                pl.col("messages").list.first().struct.field("content"),
            )
        )
        .to_series()
    )
    bound = int(share * 2**128)
    out = {text: int(key("held out", seed, text), 16) < bound for text in questions.unique()}
    held = pl.Series([out[text] for text in questions for _ in range(2)], dtype=pl.Boolean)
    train, held_out = (
        replace(rows, frame=rows.frame.filter(mask), content_hash=key(rows.content_hash, side, share, seed))
        for side, mask in (("train", ~held), ("held out", held))
    )
    return train, held_out
