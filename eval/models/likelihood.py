"""Log-probabilities of choices, from logits: natural, summed over tokens, computed in fp32."""

from collections.abc import Sequence

import torch
from torch import Tensor

from caravan.eval.benchmark import Answer
from caravan.eval.models.batches import Job
from caravan.eval.models.network import Beginning, Network

NOT_FINITE = "the model's logits are not finite numbers"


def letters(network: Network, before: Beginning | None, jobs: Sequence[Job], cut: int) -> list[Answer]:
    """Answers to prompts whose choices are single tokens: one forward pass over the rows, one place of each."""
    rows = [job.ids[cut:] for job in jobs]
    logits, _ = network.rows(before, rows, [[len(row) - 1] for row in rows])
    values = logits[:, 0].float()
    totals = values.logsumexp(-1)
    found = []
    for job, row, total in zip(jobs, values, totals, strict=True):
        chosen = torch.tensor([choice[0] for choice in job.choices], device=row.device)
        found.append(_answer((row[chosen] - total).tolist()))
    return found


def choices(network: Network, before: Beginning | None, job: Job, cut: int) -> Answer:
    """The answer to one prompt whose choices are several tokens long: the prompt is computed once for all of them."""
    prompt, logits = network.begin(before, job.ids[cut:])
    sums = [_chosen(logits[None], choice[:1]) for choice in job.choices]
    longer = [n for n, choice in enumerate(job.choices) if len(choice) > 1]
    for together in [longer] if network.pads and longer else [[n] for n in longer]:
        rows = [job.choices[n][:-1] for n in together]
        width = max(map(len, rows))
        at = [[min(place, len(row) - 1) for place in range(width)] for row in rows]
        after, _ = network.rows(prompt, rows, at)
        for n, row in zip(together, after, strict=True):
            sums[n] += _chosen(row, job.choices[n][1:])
    return _answer(sums)


def near_tie(answer: Answer, job: Job, tolerance: float) -> bool:
    """Whether the best two choices lie so near that rounding can turn them; the longer they are, the more it can."""
    best, *others = sorted(range(len(job.choices)), key=lambda n: -answer.logprobs[n])
    if not others:
        return False
    longest = max(len(job.choices[best]), len(job.choices[others[0]]))
    return answer.logprobs[best] - answer.logprobs[others[0]] < tolerance * longest


def _chosen(logits: Tensor, tokens: Sequence[int]) -> float:
    """The sum of the log-probabilities of tokens, each from its own line of `logits` [n, V]; more lines are ignored."""
    values = logits[: len(tokens)].float()
    picked = values.gather(1, torch.tensor(tokens, device=values.device)[:, None])[:, 0]
    return float((picked - values.logsumexp(-1)).sum())


def _answer(logprobs: list[float]) -> Answer:
    if not all(-float("inf") < value < float("inf") for value in logprobs):
        return Answer(ended="failed", error=NOT_FINITE)
    return Answer(logprobs=tuple(logprobs))
