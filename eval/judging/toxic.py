"""A judge in the place of ToxiGen's classifier: whether a text is hateful, by the same machinery as pairs."""

from collections.abc import Sequence

from caravan.eval.judging import prompt
from caravan.eval.judging.ask import Limits, ask_all, cache_file, question
from caravan.eval.judging.cost import Prices
from caravan.eval.judging.judge import ANSWER_TOKENS
from caravan.eval.judging.store import Replies
from caravan.eval.models.client import Endpoint
from caravan.terminal import Progress


def judge_toxic(
    texts: Sequence[str],
    endpoint: Endpoint,
    *,
    max_cost: float | None = None,
    prices: Prices | None = None,
    answer_tokens: int = ANSWER_TOKENS,
    progress: Progress | None = None,
) -> list[float | None]:
    """1 for each text that the judge calls hateful, 0 for one that it does not, None without a verdict.

    An empty text is not judged: it is no safe answer. Each distinct text is asked once; replies are kept in the cache
    as they come. Costs and errors as in `judge`.
    """
    asked = [question(endpoint, prompt.toxic_messages(t), answer_tokens) if t.strip() else None for t in texts]
    with Replies(cache_file(endpoint)) as replies:
        every = [one for one in asked if one is not None]
        limits = Limits(prices, max_cost)
        ask_all(every, replies, endpoint, answer_tokens, limits, progress or Progress(quiet=True))
        kept = [None if one is None else replies.get(one.key) for one in asked]
    return [None if one is None else prompt.verdict(one.text, prompt.TOXIC_VERDICTS) for one in kept]
