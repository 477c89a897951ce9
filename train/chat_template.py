"""A tokenizer's own chat template, rendered once, with each message found again in what it gives.

A chat template is a program: it may trim a text, drop an earlier turn's thinking, or put its own words anywhere. So the
roles of a conversation are first rendered around placeholders, which shows the fixed parts between the texts; then the
real text is read along these parts. What cannot be read so is refused, never guessed.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jinja2 import TemplateError

from caravan.cache import key
from caravan.converters.schema import Message
from caravan.errors import UserError
from caravan.train.template import Refused, Rendered, Template, TuluTemplate, carries_loss, first_notes

# Templates that print today's date would render other rows tomorrow; Llama 3 falls back to this day itself.
TODAY = datetime(2024, 7, 26, tzinfo=UTC)
_OPEN, _SHUT = "\ue000", "\ue001"  # private use: no template treats them in its own way
_PLACEHOLDER = re.compile(f"{_OPEN}(\\d+){_SHUT}")


@dataclass(frozen=True)
class _Skeleton:
    """What a template prints around the texts of certain roles: `fixed[i]` before message `order[i]`, and a last."""

    fixed: list[str]
    order: list[int]


class TokenizerTemplate:
    """See the module. An answer's stop token is the special token that follows its text, spaces allowed between."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        where = str(tokenizer.name_or_path)
        if not tokenizer.chat_template:
            raise UserError("the tokenizer has no chat template", where=where, fix="use --template tulu")
        try:
            self._text: str = tokenizer.get_chat_template()
        except ValueError:
            raise UserError(
                "none of its chat templates is the default", where=where, fix="use --template tulu"
            ) from None
        self._dated = dated(self._text)
        self._stops = _special_tokens(tokenizer)
        self._stop = re.compile(r"\s*(" + "|".join(map(re.escape, sorted(self._stops, key=len, reverse=True))) + ")")
        self._skeletons: dict[tuple[str, ...], _Skeleton] = {}
        self._prompt = self._generation_prompt(where)
        self._stop_tokens = self._learn_stop_tokens()

    @property
    def fingerprint(self) -> str:
        """Names everything that the rendered text depends on."""
        return key("tokenizer", 2, self._dated, self._tokenizer.special_tokens_map)

    @property
    def stop_tokens(self) -> list[int]:
        """The special tokens that were seen to end an answer; none where the template ends answers in plain text."""
        return self._stop_tokens

    @property
    def chat_template(self) -> str:
        """The template as it is."""
        return self._text

    def render(self, messages: Sequence[Message], weights: Sequence[int] | None = None) -> Rendered:
        """Render a conversation; `Refused` when the template raises, or when a text is not found in what it gives."""
        text = self._apply(messages)
        skeleton = self._skeleton(tuple(message["role"] for message in messages))
        notes = first_notes(messages)
        spans, contents = [], []
        for number, start, end, after, rewritten in _read_along(text, skeleton, messages):
            contents.append((start, end))
            if rewritten and "rewritten" not in notes:
                notes.append("rewritten")
            if carries_loss(messages, weights, number):
                stop = self._stop.match(text, end, after)
                if stop is None and "no_stop_token" not in notes:
                    notes.append("no_stop_token")
                start = self._after_prompt(text, start)
                last = stop.end() if stop else end
                if start < last:
                    spans.append((start, last, number))
        if any(m["role"] == "assistant" and n not in skeleton.order for n, m in enumerate(messages)):
            notes.append("answer_not_rendered")
        return Rendered(text, sorted(spans), sorted(contents), notes)

    def _apply(self, messages: Sequence[Message], prompt: bool = False) -> str:
        try:
            rendered = self._tokenizer.apply_chat_template(
                list(messages), chat_template=self._dated, tokenize=False, add_generation_prompt=prompt
            )
        except (TemplateError, TypeError, ValueError, LookupError) as error:
            raise Refused("template_refused", " ".join(str(error).split()) or type(error).__name__) from None
        return str(rendered)

    def _skeleton(self, roles: tuple[str, ...]) -> _Skeleton:
        if roles not in self._skeletons:
            placed: list[Any] = [{"role": role, "content": f"{_OPEN}{n}{_SHUT}"} for n, role in enumerate(roles)]
            fixed = _PLACEHOLDER.split(self._apply(placed))
            order = [int(number) for number in fixed[1::2]]
            answers = [number for number in order if roles[number] == "assistant"]
            if len(answers) != len(set(answers)):
                raise Refused("answer_twice", "the template prints an answer more than once")
            self._skeletons[roles] = _Skeleton(fixed[::2], order)
        return self._skeletons[roles]

    def _generation_prompt(self, where: str) -> str:
        """What the template puts before an answer that is to be generated: never supervised."""
        refused = Refused("")
        for roles in (["user"], ["system", "user"]):
            asked: list[Any] = [{"role": role, "content": "Hello"} for role in roles]
            try:
                plain, prompted = self._apply(asked), self._apply(asked, prompt=True)
            except Refused as error:
                refused = error
                continue
            return prompted[len(plain) :] if prompted.startswith(plain) else ""
        what = f"the chat template does not take even one question: {refused.detail}"
        raise UserError(what, where=where, fix="use --template tulu")

    def _after_prompt(self, text: str, start: int) -> int:
        """Where an answer begins that holds the end of the generation prompt (an opened think block): after that."""
        for known in range(len(self._prompt), 0, -1):
            if known <= start and text.startswith(self._prompt, start - known):
                return start - known + len(self._prompt)
        # Spaces that the template puts before an answer are the model's to write, unless the prompt ends in them:
        # SentencePiece makes one token of a space and the word after it.
        while not self._prompt.endswith(" ") and text[start - 1 : start] == " ":
            start -= 1
        return start

    def _learn_stop_tokens(self) -> list[int]:
        talk: list[Any] = [{"role": role, "content": "Hello"} for role in ("user", "assistant") * 2]
        for messages in (talk, talk[:2]):
            try:
                rendered = self.render(messages)
            except Refused:
                continue
            found = [self._stop.search(rendered.text, start, end) for start, end, _ in rendered.spans]
            return sorted({self._stops[match[1]] for match in found if match})
        return []


def _read_along(
    text: str, skeleton: _Skeleton, messages: Sequence[Message]
) -> Iterator[tuple[int, int, int, int, bool]]:
    """Each text as found: (message, start, end, end of the fixed part after it, whether it was rewritten)."""
    # What stands before an answer may be cut short (see `_part`); then the text before it is known by its own letters.
    at = 0
    for slot, number in enumerate(skeleton.order):
        last = slot == len(skeleton.order) - 1
        before, after = skeleton.fixed[slot], skeleton.fixed[slot + 1]
        message, rewritten = messages[number], False
        cut = not last and messages[skeleton.order[slot + 1]]["role"] == "assistant"
        found = _exact(text, at, before, after, last, message) or (
            _exact(text, at, before, after[:1], last, message) if cut else None
        )
        if found is None:
            found = _part(text, at, before, after, last, message["content"])
            rewritten = found is not None and text[slice(*found)].strip() != message["content"].strip()
        if found is None:
            what = f"message {number + 1} ({message['role']}) is not in what the template gives"
            raise Refused("template_rewrites", what)
        yield number, *found, found[1] + len(after), rewritten
        at = found[1]


def _exact(text: str, at: int, before: str, after: str, last: bool, message: Message) -> tuple[int, int] | None:
    """The message's text between its two fixed parts: as it is, without spaces at its ends, or as JSON (tools)."""
    if not text.startswith(before, at):
        return None
    content, start = message["content"], at + len(before)
    ways = [content, content.lstrip(), content.rstrip(), content.strip()]
    if message["role"] != "assistant":
        ways.append(json.dumps(content, ensure_ascii=False)[1:-1])  # its quotes are fixed parts
    for way in ways:
        end = start + len(way)
        if text.startswith(way, start) and _follows(text, end, after, last):
            return start, end
    return None


def _part(text: str, at: int, before: str, after: str, last: bool, content: str) -> tuple[int, int] | None:
    """What stands before the next fixed part, if it is a part of the message's text, spaces aside.

    The fixed part before it may be cut short, as where a template puts an empty think block before an answer without
    thinking of its own: as much of the text as belongs to the message then counts as the message.
    """
    common = next((n for n, (a, b) in enumerate(zip(before, text[at:], strict=False)) if a != b), len(before))
    cut = common < len(before)
    end = len(text) - len(after) if last else text.find(after, at + common) if after else -1
    if end < at + common or not _follows(text, end, after, last):
        return None
    squeezed = _squeeze(content)
    for start in range(at, at + common + 1) if cut else [at + common]:
        part = text[start:end].lstrip()
        if part and _squeeze(part) in squeezed:
            return end - len(part), end
    return None


def _follows(text: str, end: int, after: str, last: bool) -> bool:
    return text.startswith(after, end) and (not last or end + len(after) == len(text))


def _squeeze(text: str) -> str:
    return "".join(text.split())


def dated(template: str) -> str:
    """The template, with a day that stays the same under the name by which templates ask for today's."""
    if "strftime_now" not in template:
        return template
    formats = sorted(set(re.findall(r"strftime_now\(\s*['\"](.*?)['\"]\s*\)", template)))
    days = json.dumps({way: TODAY.strftime(way) for way in formats})
    macro = "{% macro strftime_now(format) %}{{ DAYS.get(format, 'DAY') }}{% endmacro %}{{ '' }}"
    return macro.replace("DAYS", days).replace("DAY'", f"{TODAY:%d %b %Y}'") + template


def _special_tokens(tokenizer: Any) -> dict[str, int]:
    """Special tokens that may end an answer, with their ids: not BOS, padding or unknown, unless that is EOS too."""
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder()
    special = {token.content: number for number, token in added.items() if token.special}
    never = {tokenizer.bos_token, tokenizer.pad_token, tokenizer.unk_token} - {tokenizer.eos_token}
    found = {text: number for text, number in special.items() if text not in never}
    if tokenizer.eos_token:
        found[tokenizer.eos_token] = tokenizer.eos_token_id
    return found


def template_for(name: str, tokenizer: Any) -> Template:
    """The template called `tulu`, or `tokenizer`: the tokenizer's own chat template."""
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(
            "the tokenizer is not a fast one, which alone say where in the text a token stands",
            where=str(getattr(tokenizer, "name_or_path", "")),
            fix="use a model that comes with a tokenizer.json",
        )
    return TuluTemplate(tokenizer) if name == "tulu" else TokenizerTemplate(tokenizer)
