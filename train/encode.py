"""Rendered conversations to token ids, with the tokens of each answer; read back to see that they are the answer.

A token belongs to an answer if its first character does. Special tokens are the template's alone: where people spelled
one out (`</s>` in a question about HTML), the conversation is encoded once more by a twin of the tokenizer that knows
the special tokens under other names of the same length, with which the template's own places are filled. So all of the
text keeps its context and its offsets, and what people wrote stays text.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from caravan.cache import key
from caravan.train.template import Refused, Rendered

Ids = npt.NDArray[np.int32]
_NAMES = 0x100000  # plane 16, private use: names that no text has


@dataclass(frozen=True)
class Encoded:
    """A conversation's ids, and (first token, token after the last, message) of each answer."""

    ids: Ids
    answers: list[tuple[int, int, int]]
    notes: list[str]


class Encoder:
    """A fast tokenizer, set to add nothing, cut nothing and pad nothing; the one that was given is left as it is."""

    def __init__(self, tokenizer: Any) -> None:
        self._state: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
        # A post-processor adds BOS, and may move a token's start behind its space; neither is wanted here.
        self._state |= {"post_processor": None, "truncation": None, "padding": None}
        self._plain: Tokenizer = Tokenizer.from_str(json.dumps(self._state))
        special = {token["content"]: token["id"] for token in self._state["added_tokens"] if token["special"]}
        self._special: dict[str, int] = special
        self._is_special = np.zeros(1 + max(self._plain.get_vocab(with_added_tokens=True).values()), dtype=bool)
        self._is_special[list(special.values())] = True
        self._bos: int | None = tokenizer.bos_token_id
        self._unknown: tuple[int | None, str | None] = (tokenizer.unk_token_id, tokenizer.unk_token)

    @cached_property
    def fingerprint(self) -> str:
        """Names all that ids depend on, wherever the tokenizer was loaded from."""
        return key(self._state, self._bos, self._unknown)

    def encode(self, rendered: Sequence[Rendered]) -> list[Encoded | Refused]:
        """Encode conversations in parallel; the result depends on each conversation alone."""
        encodings = self._plain.encode_batch([row.text for row in rendered], add_special_tokens=False)
        done = [self._masked(row, encoding) for row, encoding in zip(rendered, encodings, strict=True)]
        self._read_back(rendered, done)
        return done

    def _masked(self, row: Rendered, encoding: Encoding) -> Encoded | Refused:
        ids, starts, ends = _arrays(encoding)
        notes = list(row.notes)
        if self._written_out(row, ids, starts, ends):
            guarded = self._guarded(row)
            if isinstance(guarded, Refused):
                return guarded
            ids, starts, ends = guarded
            notes.append("special_in_text")
        if len(starts) and (np.diff(starts) < 0).any():
            return Refused("offsets_run_back", "the tokenizer does not say where in the text its tokens stand")
        if self._bos is not None and ids[:2].tolist() == [self._bos] * 2:
            return Refused("two_bos", "the template begins with two BOS")
        first = np.searchsorted(starts, [start for start, _, _ in row.spans])
        after = np.searchsorted(starts, [end for _, end, _ in row.spans])
        answers = []
        for span, a, b in zip(row.spans, first.tolist(), after.tolist(), strict=True):
            a = max(a, 1)  # nothing predicts a row's first token
            if a < b:
                answers.append((a, b, span[2]))
                if self._merged(span[0], a - 1, ids, ends) or self._merged(span[1], b - 1, ids, ends):
                    notes.append("merged_over_border")
        return Encoded(ids, answers, list(dict.fromkeys(notes)))

    def _merged(self, border: int, token: int, ids: Ids, ends: Ids) -> bool:
        """Whether a token that begins before a border ends after it; a special token that swallows spaces does not."""
        return bool(ends[token] > border and not self._is_special[ids[token]])

    def _written_out(self, row: Rendered, ids: Ids, starts: Ids, ends: Ids) -> bool:
        """Whether a special token stands where people wrote, but for characters that the vocabulary lacks."""
        unknown, its_text = self._unknown
        content_ends = [end for _, end in row.contents]
        for token in np.flatnonzero(self._is_special[ids]).tolist():
            piece = row.text[starts[token] : ends[token]]
            core = starts[token] + len(piece) - len(piece.lstrip())  # without the spaces that it swallowed
            content = bisect_right(content_ends, core)  # the first that ends after its start
            within = content < len(row.contents) and row.contents[content][0] < core + len(piece.strip())
            if within and (ids[token] != unknown or piece.strip() == its_text):
                return True
        return False

    @cached_property
    def _twin(self) -> tuple[Tokenizer, Ids]:
        """The tokenizer with special tokens under other names, and its ids as the tokenizer's own."""
        state = json.loads(json.dumps(self._state))
        for token in state["added_tokens"]:
            if token["special"]:
                token |= {"content": _other_name(token["content"], token["id"]), "normalized": False}
        twin: Tokenizer = Tokenizer.from_str(json.dumps(state))
        own = np.arange(twin.get_vocab_size(with_added_tokens=True) + len(state["added_tokens"]), dtype=np.int32)
        for token in state["added_tokens"]:
            own[twin.token_to_id(token["content"])] = token["id"]
        return twin, own

    def _guarded(self, row: Rendered) -> tuple[Ids, Ids, Ids] | Refused:
        longest_first = sorted(self._special, key=len, reverse=True)
        names = re.compile("|".join(map(re.escape, longest_first)))
        pieces: list[str] = []
        at = 0
        for start, end in [*row.contents, (len(row.text), len(row.text))]:
            fixed = names.sub(lambda m: _other_name(m[0], self._special[m[0]]), row.text[at:start])
            pieces += (fixed, row.text[start:end])
            at = end
        twin, own = self._twin
        ids, starts, ends = _arrays(twin.encode("".join(pieces), add_special_tokens=False))
        if self._written_out(row, own[ids], starts, ends):
            return Refused(
                "special_inseparable", "a special token that people wrote out cannot be told from the template's"
            )
        return own[ids], starts, ends

    def _read_back(self, rendered: Sequence[Rendered], done: Sequence[Encoded | Refused]) -> None:
        """Note the rows in which the tokens of an answer, decoded, are not the answer's text."""
        parts: list[list[int]] = []
        answers: list[tuple[Encoded, list[int], str]] = []
        for row, encoded in zip(rendered, done, strict=True):
            if isinstance(encoded, Encoded):
                texts = {number: row.text[start:end] for start, end, number in row.spans}
                for first, after, number in encoded.answers:
                    parts.append(encoded.ids[first:after].tolist())
                    answers.append((encoded, encoded.ids[first - 1 : after].tolist(), texts[number]))
        decoded = self._plain.decode_batch(parts, skip_special_tokens=False)
        for (encoded, with_one_before, answer), text in zip(answers, decoded, strict=True):
            if text != answer and "not_decoded_back" not in encoded.notes:
                # Some decoders take a first space away: what stands before the answer keeps it there.
                before, longer = self._plain.decode_batch(
                    [with_one_before[:1], with_one_before], skip_special_tokens=False
                )
                if longer != before + answer:
                    encoded.notes.append("not_decoded_back")


def _arrays(encoding: Encoding) -> tuple[Ids, Ids, Ids]:
    """Ids, and each token's first character and the one after its last."""
    offsets = np.fromiter(chain.from_iterable(encoding.offsets), np.int32).reshape(-1, 2)
    return np.array(encoding.ids, np.int32), offsets[:, 0], offsets[:, 1]


def _other_name(text: str, number: int) -> str:
    return chr(_NAMES + number % 0xFFFE) * len(text)
