"""A causal language model of transformers, asked for logits: behind a shared beginning, in padded batches."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from caravan.errors import UserError
from caravan.eval.models import cache
from caravan.eval.models.cache import Beginning
from caravan.train.hub import said
from caravan.train.loadback import quiet
from caravan.train.model import read_config

PLAIN = {"full_attention", "sliding_attention", "chunked_attention"}
PROBE = 40  # tokens of the trial; the first half of it is the beginning
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.25, torch.float16: 0.1}


class Network:
    """The model of a folder, ready to be asked.

    `reuses`: whether a beginning that was read once gives the logits that reading all gives; tried at the start, since
    not every family keeps plain keys and values. `windowed`: attention reaches back a limited way, so that padding
    between a beginning and its row would move what is in reach.
    """

    def __init__(self, folder: Path, dtype: torch.dtype, device: torch.device) -> None:
        config = read_config(folder)
        auto: Any = AutoModelForCausalLM
        try:
            with quiet():
                self.model = auto.from_pretrained(
                    folder, config=config, dtype=dtype, trust_remote_code=False, use_safetensors=True
                )
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            fix = "name a causal language model in safetensors"
            raise UserError(f"cannot be loaded: {said(error)}", where=str(folder), fix=fix) from None
        self.model.to(device).eval()
        self.device, self.dtype = device, dtype
        text = config.get_text_config()
        kinds = set(getattr(text, "layer_types", None) or ())
        self.layers = int(text.num_hidden_layers)
        self.windowed = bool(kinds - {"full_attention"}) or bool(getattr(text, "sliding_window", None))
        named = [getattr(text, name, None) for name in ("max_position_embeddings", "n_positions")]
        self.context: int | None = next((n for n in named if isinstance(n, int) and n > 0), None)
        taken = inspect.signature(self.model.forward).parameters
        self._takes = {name for name in ("position_ids", "logits_to_keep") if name in taken}
        self._cache = "cache" if "cache" in taken else "past_key_values"  # its name before transformers 5.24
        self.vocabulary = int(self.model.get_output_embeddings().weight.shape[0])
        self.reuses = kinds <= PLAIN and "position_ids" in self._takes and self._proven()

    @torch.inference_mode()
    def read(self, ids: Sequence[int]) -> Beginning:
        """Keys and values of a beginning."""
        held = cache.growing(self.layers, 1, len(ids))
        self._forward(self._tensor([ids]), None, None, held, 1)
        return cache.taken(held)

    @torch.inference_mode()
    def logits(self, rows: Sequence[Sequence[int]], beginning: Beginning | None, last: int) -> Tensor:
        """The logits [rows, last, vocabulary], in the model's precision, of the last ids of each row.

        Rows are padded at the left, behind the beginning; where `last` is more than a row has, its first ones are
        those of padding.
        """
        held = None if beginning is None else cache.shared(beginning)
        return self._forward(*self.padded(rows, beginning), held, last)

    def padded(
        self, rows: Sequence[Sequence[int]], beginning: Beginning | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Ids [rows, longest], positions (of the same shape) and the mask [rows, all] of what is no padding.

        The last two are None where a single row, or rows of one length, need none.
        """
        before, longest = 0 if beginning is None else beginning[0][0].shape[-2], max(map(len, rows))
        ids = self._tensor([[0] * (longest - len(row)) + list(row) for row in rows])
        pads = self._tensor([longest - len(row) for row in rows])[:, None]
        positions = (torch.arange(longest, device=self.device)[None] - pads).clamp(min=0) + before
        if len({len(row) for row in rows}) == 1:
            return ids, positions if before else None, None
        mask = torch.ones(len(rows), before + longest, dtype=torch.long, device=self.device)
        mask[:, before:] = (torch.arange(longest, device=self.device)[None] >= pads).long()
        return ids, positions, mask

    def _forward(self, ids: Tensor, positions: Tensor | None, mask: Tensor | None, held: Any, last: int) -> Tensor:
        more: dict[str, Any] = {"use_cache": held is not None, self._cache: held}
        if positions is not None:
            more["position_ids"] = positions
        if mask is not None:
            more["attention_mask"] = mask
        if "logits_to_keep" in self._takes:
            more["logits_to_keep"] = last
        found: Tensor = self.model(input_ids=ids, **more).logits[:, -last:]
        return found

    @torch.inference_mode()
    def step(self, ids: Tensor, positions: Tensor | None, mask: Tensor | None, held: Any) -> Tensor:
        """Logits [rows, vocabulary] after the last of `ids` [rows, n]; what was read is kept in `held`."""
        return self._forward(ids, positions, mask, held, 1)[:, -1].float()

    def _tensor(self, values: Any) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=self.device)

    def _proven(self) -> bool:
        """Whether both ways agree about an arbitrary text, alone and in padded company."""
        ids = [(7 * n * n + 11 * n + 3) % self.vocabulary for n in range(PROBE)]
        half = PROBE // 2
        try:
            whole = self.logits([ids], None, 1)[0, -1].float()
            beginning = self.read(ids[:half])
            parts = self.logits([ids[half:], ids[half : half + 5]], beginning, 1)[0, -1].float()
        except (RuntimeError, TypeError, AttributeError, ValueError, IndexError):
            return False
        apart = (whole.log_softmax(-1) - parts.log_softmax(-1)).abs().max()
        return bool(apart < TOLERANCE.get(self.dtype, 0.0))
