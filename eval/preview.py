"""`evaluate show`: the exact prompt of an item, token by token, before any model is asked."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from caravan.errors import UserError
from caravan.eval import rendering
from caravan.eval.benchmark import Ask, Rules, Setting
from caravan.eval.choose import Chosen
from caravan.eval.models.tokenizer import PromptTokenizer, model_folder
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


class _Prompts:
    """The prompts of a model that is never asked: its tokenizer alone, or nothing, is known."""

    def __init__(self, tokenizer: PromptTokenizer | None, chat: bool) -> None:
        self.context: int | None = None
        self._tokenizer, self._chat = tokenizer, chat

    def render(self, ask: Ask) -> str:
        """The prompt, in chat form or plain."""
        if self._tokenizer is not None and self._chat:
            return rendering.chat(ask, self._tokenizer.turn)
        return rendering.plain(ask)

    def stops(self, ask: Ask) -> tuple[str, ...]:
        """The stop strings that go with the form."""
        return ask.chat_stop if self._chat else ask.stop

    def tokens(self, prompt: str) -> list[int]:
        """The ids, where the tokenizer is known."""
        return [] if self._tokenizer is None else self._tokenizer.ids(prompt, special=not self._chat)

    def cut(self, text: str, n: int) -> str:
        """The text of its first n tokens; the whole text where the tokenizer is not known."""
        return text if self._tokenizer is None else self._tokenizer.cut(text, n)


def preview(chosen: Chosen, item: str, protocol: Rules, model: str | None = None, form: str = "auto") -> Preview:
    """The prompt of an item, named by its id or its number from 0; token by token for a model's tokenizer.

    `UserError` where there is no such item, and for a tokenizer that cannot be read.
    """
    by_id = {p.item.id: p for p in chosen.problems}
    if item.isdigit() and item not in by_id and int(item) < len(chosen.problems):
        item = chosen.problems[int(item)].item.id
    if item not in by_id:
        fix = f"ids are such as {chosen.problems[0].item.id!r}, or a number below {len(chosen.problems):,}"
        raise UserError(f"{chosen.name} has no item {item!r}", fix=fix)
    if model is None and form in ("chat", "tulu"):
        raise UserError(f"the {form} form is the tokenizer's", fix="add --model, whose tokenizer it is")
    tokenizer = None if model is None else PromptTokenizer(str(model_folder(model)), tulu=form == "tulu")
    chat = form in ("chat", "tulu") or (form == "auto" and tokenizer is not None and tokenizer.has_template)
    prompts = _Prompts(tokenizer, chat)
    asked = prepare(
        prompts, replace(chosen, problems=(by_id[item],)), Setting(chosen.variant, protocol, prompts.cut), 0
    )
    ask, problem, ids = asked.asks[0], asked.problems[0], prompts.tokens(asked.prompts[0])
    about = {"gold": " | ".join(problem.golds)}
    if ask.choices:
        about["choices, by likelihood"] = " ".join(map(repr, ask.choices))
    else:
        stops = ", ".join(map(repr, prompts.stops(ask))) or "none"
        about["answer"] = f"at most {ask.new_tokens} tokens, stop strings: {stops}"
    pieces = [] if tokenizer is None else [tokenizer.piece(i) for i in ids]
    return Preview(chosen.label, item, asked.prompts[0], ids, pieces, len(problem.shots), about)
