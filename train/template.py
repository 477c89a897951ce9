"""How a conversation becomes text, and which characters of it carry loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from caravan.cache import key
from caravan.converters.schema import Message
from caravan.errors import UserError


@dataclass(frozen=True)
class Rendered:
    """One conversation as text.

    `spans` are (start, end, message) of what carries loss: an answer and its stop token. `contents` are (start, end) of
    what people wrote; all else is the template's. `notes` are codes of what was noticed (`assistant_first`, ...).
    """

    text: str
    spans: list[tuple[int, int, int]]
    contents: list[tuple[int, int]]
    notes: list[str]


class Template(Protocol):
    """What renders: the paper's, or a tokenizer's own."""

    @property
    def fingerprint(self) -> str:
        """Names everything that the rendered text depends on."""

    @property
    def stop_tokens(self) -> list[int]:
        """Ids that end an answer: supervised, and named in the export's generation config."""

    @property
    def chat_template(self) -> str:
        """The Jinja text that travels with the exported tokenizer."""

    def render(self, messages: Sequence[Message], weights: Sequence[int] | None = None) -> Rendered:
        """Render a conversation; `Refused` when the template does not take it."""


class Refused(Exception):  # noqa: N818
    """A conversation that a template does not take: `code` is a stable snake_case reason."""

    def __init__(self, code: str, detail: str = "") -> None:
        self.code, self.detail = code, detail
        super().__init__(f"{code}: {detail}")


def adds_bos(tokenizer: Any) -> bool:
    """Whether the tokenizer itself puts a BOS before a text (Llama's does, GPT-2's does not)."""
    return tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id


def carries_loss(messages: Sequence[Message], weights: Sequence[int] | None, number: int) -> bool:
    """Whether a message does: an assistant's, of weight 1, with something before it to answer."""
    return messages[number]["role"] == "assistant" and number > 0 and (weights is None or weights[number] == 1)


def first_notes(messages: Sequence[Message]) -> list[str]:
    """The note of a conversation that begins with an answer."""
    return ["assistant_first"] if messages[0]["role"] == "assistant" else []


class TuluTemplate:
    """The paper's: each turn under a line `<|role|>`, an answer ended by the tokenizer's EOS.

    With one BOS in front where the tokenizer adds one itself. Wang et al., 2023, arXiv 2306.04751, section 4.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._bos: str = tokenizer.bos_token if adds_bos(tokenizer) else ""
        self._eos: str = tokenizer.eos_token or ""
        ids = tokenizer(self._eos, add_special_tokens=False)["input_ids"] if self._eos else []
        if not ids or ids != [tokenizer.eos_token_id]:
            raise UserError(
                f"the tokenizer's end of sequence is {tokenizer.eos_token!r}, which is not one token of its",
                where=str(tokenizer.name_or_path),
                fix="set eos_token in its tokenizer_config.json",
            )
        self._stop: int = tokenizer.eos_token_id

    @property
    def fingerprint(self) -> str:
        """Names everything that the rendered text depends on."""
        return key("tulu", 1, self._bos, self._eos)

    @property
    def stop_tokens(self) -> list[int]:
        """The EOS."""
        return [self._stop]

    @property
    def chat_template(self) -> str:
        """The same as Jinja, with the marks that TRL's `assistant_only_loss` needs."""
        answer = "{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}{{ '\\n' }}"
        return (
            ("{{ bos_token }}" if self._bos else "")
            + "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' }}"
            + "{% if message['role'] == 'assistant' %}"
            + answer
            + "{% else %}{{ message['content'] + '\\n' }}{% endif %}{% endfor %}"
            + "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
        )

    def render(self, messages: Sequence[Message], weights: Sequence[int] | None = None) -> Rendered:
        """Render a conversation; nothing is refused."""
        pieces, at = [self._bos], len(self._bos)
        spans, contents = [], []
        for number, message in enumerate(messages):
            header, content = f"<|{message['role']}|>\n", message["content"]
            stop = self._eos if message["role"] == "assistant" else ""
            pieces += (header, content, stop, "\n")
            start = at + len(header)
            contents.append((start, start + len(content)))
            at = start + len(content) + len(stop)
            if carries_loss(messages, weights, number):
                spans.append((start, at, number))
            at += 1
        return Rendered("".join(pieces), spans, contents, first_notes(messages))
