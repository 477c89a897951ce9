"""A judge over pairs of answers: every pair in both orders, every verdict kept as it comes, nothing paid for twice.

The folder of a judgement holds `judge.json` (what is judged, by whom), `replies.jsonl` while it is under way, and when
all was asked `judgements.parquet` (one row a pair and order, sorted) and `summary.json`. A command that was killed goes
on, and the final files are the bytes that an undisturbed one writes. Replies are also kept by content in the cache, for
other folders.

| status | what | preference |
|---|---|---|
| `parsed` | the allowed word and nothing else | for the first model's answer: 1, 0, or 0.5 for a tie |
| `identical` | both outputs are the same text, so that nobody is asked | 0.5 |
| `unparsed` | the judge said something else | none |
| `failed` | no reply came; asked again next time | none |

Verdicts that are missing stay in n: the win rate is that of pairs with both verdicts, and `bounds` says what it would
be, were every missing one lost, or won.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from caravan.cache import written_aside
from caravan.errors import UserError
from caravan.eval.folder import held
from caravan.eval.judging import prompt
from caravan.eval.judging.ask import VERSION, Limits, Question, ask_all, cache_file, planned, question
from caravan.eval.judging.cost import Plan, Prices
from caravan.eval.judging.store import Kept, Replies
from caravan.eval.judging.win_rate import WinRate, win_rate
from caravan.eval.models.client import Endpoint
from caravan.eval.pairs import Pair
from caravan.eval.scores import flat
from caravan.terminal import Progress

Order = Literal["ab", "ba"]
Status = Literal["parsed", "identical", "unparsed", "failed"]
ORDERS: tuple[Order, ...] = ("ab", "ba")
ANSWER_TOKENS = 16  # enough for one word; a judge that thinks first needs thousands
ABOUT, REPLIES, JUDGEMENTS, SUMMARY = "judge.json", "replies.jsonl", "judgements.parquet", "summary.json"

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "group", "order", "status")),
        ("preference", pa.float64()),
        ("winner", pa.string()),
        ("raw", pa.string()),
        ("error", pa.string()),
        ("prompt_tokens", pa.int64()),
        ("answer_tokens", pa.int64()),
        ("cost", pa.float64()),
        ("key", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict on a pair; `order` "ab" shows A's output first. `preference` is for A's output whichever stood first.

    `winner` says the same by the models' names, or "tie", as `evaluate human report --judge` reads it.
    `raw` is the reply, word for word; `cost` is None without prices, and tokens and cost are nought where the reply of
    an equal question serves (`key` is the question's).
    """

    id: str
    group: str
    order: Order
    status: Status
    preference: float | None
    winner: str | None
    raw: str = ""
    error: str = ""
    prompt_tokens: int = 0
    answer_tokens: int = 0
    cost: float | None = None
    key: str = ""


def judge(
    pairs: Sequence[Pair],
    endpoint: Endpoint,
    folder: Path,
    *,
    models: tuple[str, str] = ("a", "b"),
    max_cost: float | None = None,
    prices: Prices | None = None,
    answer_tokens: int = ANSWER_TOKENS,
    progress: Progress | None = None,
) -> list[Judgement]:
    """Judge pairs in both orders, or go on where it stopped; write the final files and give what they hold.

    Judgements are sorted by id and order, whatever the order of the pairs. `models` name A and B, for the final
    files; the judge never sees them. `max_cost` is what this command may spend (in the unit of `prices`): an estimate
    above it is refused before anything is asked, and asking stops before it is passed. Raises `UserError` for pairs
    that share an id, a folder that holds something else, another command at work in it, and when no request can
    succeed.
    """
    progress, limits = progress or Progress(quiet=True), Limits(prices, max_cost)
    ordered = _sorted(pairs)
    asked = _questions(ordered, endpoint, answer_tokens)
    with held(folder, ABOUT, _about(ordered, models, endpoint, answer_tokens), "judgement"):
        with _replies(folder, endpoint) as replies:
            every = [q for q in asked.values() if q is not None]
            failed = ask_all(every, replies, endpoint, answer_tokens, limits, progress)
            found = _judgements(ordered, models, asked, replies, failed, prices)
        _write(folder, found, models, endpoint)
    return found


def plan_judge(
    pairs: Sequence[Pair],
    endpoint: Endpoint,
    folder: Path,
    *,
    prices: Prices | None = None,
    answer_tokens: int = ANSWER_TOKENS,
) -> Plan:
    """What `judge` would ask, and what that would cost at most, without asking."""
    asked = _questions(_sorted(pairs), endpoint, answer_tokens)
    with _replies(folder, endpoint) as replies:
        every = [q for q in asked.values() if q is not None]
        return planned(every, replies, endpoint, answer_tokens, prices)


def _sorted(pairs: Sequence[Pair]) -> list[Pair]:
    twice = [name for name, times in Counter(p.id for p in pairs).items() if times > 1]
    if twice:
        raise UserError(f"two pairs have the id {twice[0]!r}", fix="give each its own")
    if not pairs:
        raise UserError("no pairs to judge", fix="give outputs of two models for the same instructions")
    return sorted(pairs, key=lambda p: p.id)


def _questions(
    pairs: Sequence[Pair], endpoint: Endpoint, answer_tokens: int
) -> dict[tuple[str, Order], Question | None]:
    """What is asked of each pair in each order; None where the outputs are one text."""
    found: dict[tuple[str, Order], Question | None] = {}
    for pair in pairs:
        for order in ORDERS:
            shown = (pair.a, pair.b) if order == "ab" else (pair.b, pair.a)
            same = pair.a == pair.b
            messages = prompt.pair_messages(pair.prompt, *shown)
            found[pair.id, order] = None if same else question(endpoint, messages, answer_tokens)
    return found


def _judgements(
    pairs: Sequence[Pair],
    models: tuple[str, str],
    asked: dict[tuple[str, Order], Question | None],
    replies: Replies,
    failed: dict[str, str],
    prices: Prices | None,
) -> list[Judgement]:
    found, paid = [], set[str]()
    names = {1.0: models[0], 0.0: models[1], 0.5: "tie", None: None}
    for pair in pairs:
        for order in ORDERS:
            one = asked[pair.id, order]
            kept = None if one is None else replies.get(one.key)
            status: Status
            preference, tokens = None, (0, 0)
            if one is None:
                status, preference = "identical", 0.5
            elif kept is None:
                status = "failed"
            else:
                shown = prompt.verdict(kept.text, prompt.PAIR_VERDICTS)
                preference = shown if shown is None or order == "ab" else 1 - shown
                status = "unparsed" if preference is None else "parsed"
                tokens = (0, 0) if one.key in paid else (kept.prompt_tokens, kept.answer_tokens)
                paid.add(one.key)
            own = "" if one is None else one.key
            raw, error = "" if kept is None else kept.text, failed[own] if status == "failed" else ""
            cost = None if prices is None else prices.of(*tokens)
            about = (pair.id, pair.group, order, status, preference, names[preference])
            found.append(Judgement(*about, raw, error, *tokens, cost, own))
    return found


def summarise(judgements: Sequence[Judgement]) -> dict[str, Any]:
    """What came of a judgement, as a value of JSON: shares are 0..1, figures have their intervals.

    `win_rate` and `flips` are over pairs with both verdicts; `position_bias` is the preference for whichever answer
    stood first, less a half. `bounds` is the win rate over all pairs, were missing verdicts all lost, or all won.
    """
    rate = _win_rate(judgements)
    costs = [j.cost for j in judgements if j.cost is not None]
    counts = Counter(j.status for j in judgements)
    return {
        "pairs": rate.n,
        "pairs_without_both_verdicts": rate.incomplete,
        "verdicts": {status: counts[status] for status in ("parsed", "identical", "unparsed", "failed")},
        "win_rate": None if rate.rate is None else flat(rate.rate),
        "bounds": list(rate.bounds),
        "flips": None if rate.flips is None else flat(rate.flips),
        "opposite": rate.reversed_,
        "position_bias": None if rate.position is None else flat(rate.position),
        "prompt_tokens": sum(j.prompt_tokens for j in judgements),
        "answer_tokens": sum(j.answer_tokens for j in judgements),
        "cost": sum(costs) if costs else None,
    }


def both_orders(judgements: Sequence[Judgement]) -> dict[str, dict[Order, float | None]]:
    """The preferences for A's output of each pair, by order; None where there is no verdict."""
    found: dict[str, dict[Order, float | None]] = {}
    for one in judgements:
        found.setdefault(one.id, dict.fromkeys(ORDERS))[one.order] = one.preference
    return found


def _win_rate(judgements: Sequence[Judgement]) -> WinRate:
    both, groups = both_orders(judgements), {j.id: j.group for j in judgements}
    strata = [groups[name] for name in both] if len(set(groups.values())) > 1 else None
    return win_rate([p["ab"] for p in both.values()], [p["ba"] for p in both.values()], strata)


def _about(pairs: Sequence[Pair], models: tuple[str, str], endpoint: Endpoint, answer_tokens: int) -> dict[str, Any]:
    """What a judgement is begun for: with anything else its folder is another one's."""
    return {
        "version": VERSION,
        "prompt": prompt.VERSION,
        "judge": endpoint.model,
        "endpoint": endpoint.label,
        "answer_tokens": answer_tokens,
        "models": list(models),
        "pairs": len(pairs),
        "content": sha256(json.dumps([asdict(p) for p in pairs]).encode()).hexdigest(),
    }


def _replies(folder: Path, endpoint: Endpoint) -> Replies:
    """All replies that are known: to this folder, whether under way or finished, and to the cache."""
    return Replies(folder / REPLIES, cache_file(endpoint), known=_finished(folder / JUDGEMENTS))


def _finished(path: Path) -> dict[str, Kept]:
    """The replies in a final file."""
    if not path.exists():
        return {}
    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"not Parquet: {str(error).splitlines()[0]}", where=str(path), fix="remove it") from None
    found: dict[str, Kept] = {}
    for row in rows:
        if row["status"] in ("parsed", "unparsed"):
            found.setdefault(row["key"], Kept(row["raw"], row["prompt_tokens"], row["answer_tokens"]))
    return found


def _write(folder: Path, found: Sequence[Judgement], models: tuple[str, str], endpoint: Endpoint) -> None:
    with written_aside(folder / JUDGEMENTS) as aside:
        pq.write_table(pa.Table.from_pylist([asdict(one) for one in found], SCHEMA), aside)
    about = {"judge": endpoint.model, "endpoint": endpoint.label, "models": list(models)}
    _write_json(folder / SUMMARY, about | summarise(found))
    (folder / REPLIES).unlink(missing_ok=True)  # all that it held is in the final file
    for left_by_a_kill in folder.glob(".*.part"):
        left_by_a_kill.unlink(missing_ok=True)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    with written_aside(path) as aside:
        aside.write_text(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
