"""How much a prompt helps a causal language model to the beginning of an answer: for the quality part `likelihood`.

    gain of a token = log p(token | prompt, the answer so far) - log p(token | the answer so far)      (nats)

The sum over tokens is the log of a Bayes factor: how much likelier the answer is given this prompt than given none.
The likelihoods are those of the model's chat template with the prompt as the user's turn, and with that turn empty;
a model without a template (or with one that does not hold a prompt as it stands) reads "prompt, blank line, answer".
"""

import inspect
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from caravan.curate.models.folder import Device, LocalModel, batches, one_thread
from caravan.errors import UserError

Floats = npt.NDArray[np.float64]

_PLACE = "caravan"  # stands for the prompt while the template is taken apart
_BETWEEN = "\n\n"
_FEWEST = 128  # tokens of a prompt and an answer that a model must be able to read


class LanguageModel:
    """A causal language model, and the shell in which it is shown a prompt."""

    def __init__(self, folder: Path, device: Device = "auto", *, prompt_tokens: int = 384) -> None:
        """`prompt_tokens`: of a longer prompt, the last ones are read. `UserError` for what is no language model."""
        self.loaded = LocalModel(folder, "AutoModelForCausalLM", device)
        self.before, self.after = self._shell(folder)
        self.prompt_tokens = prompt_tokens
        self.cuts_logits = "logits_to_keep" in inspect.signature(self.loaded.model.forward).parameters
        self._check_causal(folder)

    def gains(self, prompts: Sequence[str], answers: Sequence[str], tokens: int) -> list[Floats]:
        """For each answer the gain of each of its first `tokens` tokens (nats); empty for an answer without any."""
        room = self.loaded.positions - len(self.before) - len(self.after)
        said = [ids[: min(tokens, room)] for ids in self.loaded.encoded(answers)]
        asked = self.loaded.encoded(prompts)
        shown = [
            ids[max(0, len(ids) - min(self.prompt_tokens, room - len(s))) :] for ids, s in zip(asked, said, strict=True)
        ]
        given = self._log_likelihoods([[*self.before, *ids, *self.after] for ids in shown], said)
        alone = self._log_likelihoods([[*self.before, *self.after]] * len(said), said)
        return [a - b for a, b in zip(given, alone, strict=True)]

    def _shell(self, folder: Path) -> tuple[list[int], list[int]]:
        """The tokens before and after a prompt. A template that asks for the date is told one that stays."""
        from caravan.train.chat_template import dated

        tokenizer = self.loaded.tokenizer
        parts: list[str] = []
        if tokenizer.chat_template:
            turn = [{"role": "user", "content": _PLACE}]
            try:
                template = dated(tokenizer.get_chat_template())
                text = tokenizer.apply_chat_template(
                    turn, chat_template=template, add_generation_prompt=True, tokenize=False
                )
                parts = str(text).split(_PLACE)
            except Exception:  # a template is a program of the model's author, and may raise anything
                parts = []
        if len(parts) == 2:
            before, after = self.loaded.encoded(parts)
        else:
            begin = [token for token in (tokenizer.bos_token_id, tokenizer.eos_token_id) if token is not None]
            before, after = begin[:1], self.loaded.encoded([_BETWEEN])[0]
        if not [*before, *after]:
            raise UserError("its tokenizer knows no token to begin with", where=str(folder), fix="name another model")
        if self.loaded.positions < len(before) + len(after) + _FEWEST:
            what = f"reads {self.loaded.positions} tokens, its template has {len(before) + len(after)}"
            raise UserError(what, where=str(folder), fix="name a model that reads more")
        return before, after

    def _check_causal(self, folder: Path) -> None:
        """`UserError` where the first token's prediction depends on the second: an encoder calls itself causal, too."""
        import torch

        pairs = torch.tensor([[0, 1], [0, 2]], device=self.loaded.device)
        with one_thread(), torch.inference_mode():
            first, other = self.loaded.model(input_ids=pairs, use_cache=False).logits[:, 0].float()
        if not torch.allclose(first, other, atol=1e-5, rtol=1e-5, equal_nan=True):
            raise UserError(
                "is not causal: it reads what follows", where=str(folder), fix="name a causal language model"
            )

    def _log_likelihoods(self, before: Sequence[list[int]], texts: Sequence[list[int]]) -> list[Floats]:
        """log p of each token of each text after what stands before it.

        Sequences are padded at their end only, which the earlier tokens of a causal model do not see.
        """
        import torch

        device, model = self.loaded.device, self.loaded.model
        found: list[Floats] = [np.empty(0)] * len(texts)
        lengths = [len(b) + len(text) if text else 0 for b, text in zip(before, texts, strict=True)]
        with one_thread(), torch.inference_mode():
            for batch, shape in batches(lengths, self.loaded.alone):
                ids = torch.zeros(shape, dtype=torch.long)
                for row, i in enumerate(batch):
                    ids[row, : lengths[i]] = torch.tensor(before[i] + texts[i])
                keep = len(texts[batch[0]]) + 1 if self.loaded.alone else shape[1]
                cut = {"logits_to_keep": keep} if self.cuts_logits else {}
                logits = model(input_ids=ids.to(device), use_cache=False, **cut).logits
                left_out = shape[1] - logits.shape[1]
                for row, i in enumerate(batch):
                    start = len(before[i]) - 1 - left_out
                    of = logits[row, start : start + len(texts[i])].float()
                    picked = of.gather(1, torch.tensor(texts[i], device=device)[:, None])[:, 0]
                    found[i] = (picked - of.logsumexp(1)).double().cpu().numpy()
        return found
