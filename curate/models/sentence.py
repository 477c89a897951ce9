"""Sentence embeddings by a model of this machine: for the quality part `embedding`.

The folder is one of sentence-transformers, read by transformers alone: the mean of the last hidden states (Reimers and
Gurevych, 2019), or the first where `1_Pooling/config.json` says so, scaled to length 1.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from caravan.curate.models.folder import Device, LocalModel, batches, one_thread
from caravan.errors import UserError

Floats = npt.NDArray[np.float64]

_MOST_TOKENS = 256


class SentenceModel:
    """A model, how many tokens it reads, and how it pools."""

    def __init__(self, folder: Path, device: Device = "auto") -> None:
        """`UserError` for what is no such model, or pools in another way."""
        self.loaded = LocalModel(folder, "AutoModel", device)
        pooling = _json(folder / "1_Pooling" / "config.json")
        ways = {name for name, used in pooling.items() if name.startswith("pooling_mode_") and used is True}
        if not ways <= {"pooling_mode_mean_tokens"} and ways != {"pooling_mode_cls_token"}:
            what = f"pools by {', '.join(sorted(ways))}"
            raise UserError(what, where=str(folder), fix="name a model that pools by the mean or the first token")
        self.first = ways == {"pooling_mode_cls_token"}
        most = _json(folder / "sentence_bert_config.json").get("max_seq_length")
        self.tokens = min(most if isinstance(most, int) and most > 2 else _MOST_TOKENS, self.loaded.positions)
        try:
            self.vectors(["a"])
        except UserError:
            raise
        except Exception as error:  # a model of another kind wants other inputs, or gives other outputs
            what = f"gives no hidden states of a text ({type(error).__name__})"
            raise UserError(what, where=str(folder), fix="name the folder of a sentence-transformers model") from None

    def vectors(self, texts: Sequence[str]) -> Floats:
        """One row of length 1 for each text; the tokens beyond the model's own limit are not read."""
        import torch

        tokenizer, device = self.loaded.tokenizer, self.loaded.device
        rows = tokenizer(list(texts), truncation=True, max_length=self.tokens)["input_ids"] if texts else []
        rows = self.loaded.in_range(rows)
        found = np.zeros((len(texts), self.loaded.model.config.hidden_size))
        with one_thread(), torch.inference_mode():
            for batch, shape in batches([len(ids) for ids in rows], self.loaded.alone):
                ids, mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
                mask[:, 0] = 1  # rows that stay empty see something, and are not looked at
                for at, i in enumerate(batch):
                    ids[at, : len(rows[i])] = torch.tensor(rows[i])
                    mask[at, : len(rows[i])] = 1
                hidden = self.loaded.model(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state
                for at, i in enumerate(batch):
                    states = hidden[at, : len(rows[i])].double().cpu().numpy()
                    pooled = states[0] if self.first else states.mean(axis=0)
                    found[i] = pooled / max(float(np.linalg.norm(pooled)), 1e-9)
        return found


def _json(path: Path) -> dict[str, object]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}
