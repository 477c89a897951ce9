"""`evaluate show`: the exact prompt of an item, token by token, before any model is asked."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from caravan.errors import UserError
from caravan.eval.benchmark import Rules, Setting
from caravan.eval.choose import Chosen
from caravan.eval.model import Model
from caravan.eval.run import prepare


@dataclass(frozen=True)
class Preview:
    """One item as it is asked. `pieces` are the texts of `ids`, where the tokenizer is known."""

    label: str
    item: str
    prompt: str
    ids: list[int]
    pieces: list[str]
    shots: int
    about: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Everything, as a value of JSON."""
        return asdict(self)


def preview(
    model: Model, chosen: Chosen, item: str, protocol: Rules, piece: Callable[[int], str] | None = None
) -> Preview:
    """The prompt of an item, named by its id or its number from 0. `UserError` where there is no such item."""
    by_id = {p.item.id: p for p in chosen.problems}
    if item.isdigit() and item not in by_id and int(item) < len(chosen.problems):
        item = chosen.problems[int(item)].item.id
    if item not in by_id:
        fix = f"ids are such as {chosen.problems[0].item.id!r}, or a number below {len(chosen.problems):,}"
        raise UserError(f"{chosen.name} has no item {item!r}", fix=fix)
    one = Chosen(chosen.name, chosen.variant, chosen.module, chosen.folder, chosen.embedded, (by_id[item],))
    asked = prepare(model, one, Setting(chosen.variant, protocol, model.cut, run_code=True), 0)
    ask, problem, ids = asked.asks[0], asked.problems[0], model.tokens(asked.prompts[0])
    about = {"gold": " | ".join(problem.golds)}
    if ask.choices:
        about["choices, by likelihood"] = " ".join(map(repr, ask.choices))
    else:
        stops = ", ".join(map(repr, model.stops(ask))) or "none"
        about["answer"] = f"at most {ask.new_tokens} tokens, stop strings: {stops}"
    pieces = [piece(i) for i in ids] if piece is not None else []
    return Preview(chosen.label, item, asked.prompts[0], ids, pieces, len(problem.shots), about)
