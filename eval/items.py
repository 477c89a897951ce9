"""The rows of a run: `items.parquet`, one row an item; written as answers arrive, read by everything after.

| column | what |
|---|---|
| `benchmark variant protocol` | the score that the item belongs to |
| `id group cluster` | the item; its subject, task or language; what it shares with other items ("": nothing) |
| `outputs` | texts that the model wrote (empty for choices) |
| `logprobs` | log-probability of each choice (empty for texts) |
| `ended errors judged` | for each output: stop, length or failed; why it failed; what a judge or classifier said |
| `status extracted rule` | scored, unextractable, empty, failed or unjudged; what was read; by which rule |
| `score` | the headline metric, null where there is none (empty, failed, unjudged) |
| `metrics` | all metrics by name |
| `shots prompt_tokens prompt_hash` | examples that the prompt has, its length, its hash; null outside a run |
| `near_tie` | the decision hung on a difference that rounding can turn |
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from caravan.eval.benchmark import Answer, Problem, Setting, Verdict

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("benchmark", "variant", "protocol", "id", "group", "cluster")),
        ("outputs", pa.list_(pa.string())),
        ("logprobs", pa.list_(pa.float64())),
        ("ended", pa.list_(pa.string())),
        ("errors", pa.list_(pa.string())),
        ("judged", pa.list_(pa.float64())),
        *((name, pa.string()) for name in ("status", "extracted", "rule")),
        ("score", pa.float64()),
        ("metrics", pa.list_(pa.struct([("name", pa.string()), ("value", pa.float64())]))),
        ("shots", pa.int32()),
        ("prompt_tokens", pa.int32()),
        ("prompt_hash", pa.string()),
        ("near_tie", pa.bool_()),
    ]
)


def item_row(
    benchmark: str, setting: Setting, problem: Problem, answers: Sequence[Answer], verdict: Verdict, headline: str
) -> dict[str, Any]:
    """The row of an item; what only a run knows of it (shots, prompt) is null."""
    return {
        "benchmark": benchmark,
        "variant": setting.variant,
        "protocol": setting.protocol,
        "id": problem.item.id,
        "group": problem.item.group,
        "cluster": problem.cluster,
        "outputs": [] if answers and answers[0].logprobs else [a.text for a in answers],
        "logprobs": [x for a in answers[:1] for x in a.logprobs],
        "ended": [a.ended for a in answers],
        "errors": [a.error for a in answers],
        "judged": [a.judged for a in answers],
        "status": verdict.status,
        "extracted": verdict.extracted,
        "rule": verdict.rule,
        "score": verdict.values.get(headline),
        "metrics": [{"name": name, "value": value} for name, value in verdict.values.items()],
        "near_tie": any(a.near_tie for a in answers),
    }
