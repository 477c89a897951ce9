"""A model's own tokenizer and chat template: how a prompt becomes the ids that the model sees.

A chat template writes every special token itself, so nothing is added to a rendered turn; plain text gets what the
tokenizer puts around a text, such as a BOS. Either way there is one BOS at most, and `evaluate show` shows it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from caravan.cache import key
from caravan.errors import UserError

INSIDE = "model"  # where a run of `train` has its exported model


def model_folder(name: str, *, weights: bool = False) -> Path:
    """The folder of a model: itself, that of a run of `train`, or one fetched from the hub (without its weights)."""
    from caravan.train.hub import find_model

    folder = Path(name).expanduser()
    if folder.is_dir() and not (folder / "config.json").is_file():
        if (folder / INSIDE).is_dir():
            return folder / INSIDE
        if not weights and (folder / "tokenizer.json").is_file():
            return folder
    return find_model(name, weights=weights)


class PromptTokenizer:
    """The tokenizer of a folder or of a name on the hub; `tulu`: with the paper's turns instead of its template.

    Raises `UserError` for one that cannot be read.
    """

    def __init__(self, name: str, *, tulu: bool = False) -> None:
        import transformers

        from caravan.train.chat_template import dated
        from caravan.train.hub import said
        from caravan.train.template import TuluTemplate

        folder = model_folder(name)
        try:
            self.own: Any = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except Exception as error:  # the package raises whatever it likes for what is wrong with the files
            fix = "name the folder of the model's tokenizer"
            raise UserError(f"not a tokenizer that can be read: {said(error)}", where=name, fix=fix) from None
        if not self.own.is_fast:
            raise UserError("not a fast tokenizer", where=name, fix="name a folder with a tokenizer.json")
        self.own.model_max_length = sys.maxsize  # what is too long is the server's to say
        self._where = name
        self.has_template = tulu or bool(self.own.chat_template)
        self._template = ""
        if self.has_template:
            self._template = TuluTemplate(self.own).chat_template if tulu else dated(self.own.get_chat_template())
        self.fingerprint = key(self.own.backend_tokenizer.to_str(), self._template)

    def turn(self, text: str) -> str:
        """The text as a user's turn, with the assistant's header after it."""
        from jinja2 import TemplateError

        try:
            rendered = self.own.apply_chat_template(
                [{"role": "user", "content": text}],
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=True,
            )
        except (TemplateError, TypeError, ValueError, LookupError) as error:
            what = f"the chat template does not take a question: {error}"
            raise UserError(what, where=self._where, fix="use --form plain") from None
        return str(rendered)

    def ids(self, text: str, *, special: bool) -> list[int]:
        """The ids; `special`: with what the tokenizer itself puts around a text, such as a BOS."""
        return list(self.own(text, add_special_tokens=special)["input_ids"])

    def cut(self, text: str, n: int) -> str:
        """The text of its first n tokens, as the published TyDi QA procedure cuts passages.

        It counts the BOS that the tokenizer adds, and decodes it into the text: a fault that belongs to the protocol.
        """
        ids = self.ids(text, special=True)
        return text if len(ids) <= n else str(self.own.decode(ids[:n], clean_up_tokenization_spaces=False))

    def text(self, ids: Sequence[int]) -> str:
        """The text of ids that a model wrote, without special tokens."""
        return str(self.own.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def piece(self, token: int) -> str:
        """The text of one token; a part of a character is shown as U+FFFD."""
        return str(self.own.decode([token], clean_up_tokenization_spaces=False))

    def is_one(self, word: str) -> bool:
        """Whether a word is one token, with or without a space before it."""
        return any(len(self.ids(way, special=False)) == 1 for way in (word, f" {word}"))
