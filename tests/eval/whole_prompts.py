"""What a model says of whole prompts, each computed alone by transformers and nothing else: the reference."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from caravan.eval.benchmark import Answer
from caravan.eval.model import Request
from caravan.eval.models.local import LocalModel
from tiny import BOS, EOS, SENTENCES, tiny_model, tiny_tokenizer

Auto: Any = AutoModelForCausalLM
Tokenizer: Any = AutoTokenizer

SHOTS = "".join(
    f"Question: {sentence}\nAnswer: {letter}\n\n" for sentence, letter in zip(SENTENCES, "ABCDABCDA", strict=True)
)
LETTERS = ("A", "B", "C", "D")  # a token each, where " A" is two
EXTRA: dict[str, dict[str, Any]] = {
    "bloom": {"n_layer": 2, "n_head": 4},
    "gemma2": {"head_dim": 8, "num_key_value_heads": 2, "intermediate_size": 64, "sliding_window": 24},
    "gemma3_text": {"head_dim": 8, "num_key_value_heads": 2, "intermediate_size": 64, "sliding_window": 24},
    "mistral": {"num_key_value_heads": 2, "intermediate_size": 64, "sliding_window": 24},
    "mamba": {"state_size": 4},
    "qwen3_moe": {
        "head_dim": 8, "num_key_value_heads": 2, "intermediate_size": 64, "moe_intermediate_size": 16,
        "num_experts": 4, "num_experts_per_tok": 2,
    },
}  # fmt: skip


def folder_of(family: str, folder: Path, scale: float = 3.0, **tokenizer: Any) -> Path:
    """A random model of a family with its tokenizer; larger weights than a new model's, so that prompts matter."""
    tiny_tokenizer(folder, **tokenizer)
    if family not in EXTRA:
        tiny_model(family, folder)
    else:
        shape = {"vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
        ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2, "max_position_embeddings": 512}
        config = AutoConfig.for_model(family, **{**shape, **ids, **EXTRA[family]})
        with torch.random.fork_rng():
            torch.manual_seed(1)
            Auto.from_config(config, dtype=torch.float32).save_pretrained(folder)
    model = Auto.from_pretrained(folder)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and "A_log" not in name:
                weight.mul_(scale)
    model.save_pretrained(folder)
    return folder


def questions(count: int, stem: str = SHOTS, **more: Any) -> list[Request]:
    """Prompts of unequal length that begin with the same examples."""
    texts = [" ".join(SENTENCES[n % 9].split()[: 3 + 2 * (n % 5)]) + str(n) for n in range(count)]
    return [Request(f"{stem}Question: {text}\nAnswer:", **more) for text in texts]


def answered(model: LocalModel, requests: Sequence[Request], done: frozenset[int] = frozenset()) -> dict[int, Answer]:
    """All answers; each request is answered once."""
    found: dict[int, Answer] = {}
    for some in model.answers(requests, done):
        for number, answer in some:
            assert number not in found
            assert number not in done
            found[number] = answer
    assert sorted([*found, *done]) == list(range(len(requests)))
    return found


class Reference:
    """The folder's model as transformers loads it."""

    def __init__(self, folder: Path) -> None:
        self.model, self.tokenizer = Auto.from_pretrained(folder).eval(), Tokenizer.from_pretrained(folder)

    def logprob(self, prompt: list[int], choice: list[int]) -> float:
        """Summed over the tokens of the choice, from one pass over all tokens."""
        with torch.inference_mode():
            logits = self.model(torch.tensor([[*prompt, *choice]]), use_cache=False).logits[0]
        shares = logits.double().log_softmax(-1)
        return float(sum(shares[len(prompt) - 1 + n, token] for n, token in enumerate(choice)))

    def greedy(self, prompt: list[int], new: int) -> list[int]:
        """The likeliest token, time after time, from all tokens so far."""
        ids = list(prompt)
        for _ in range(new):
            with torch.inference_mode():
                ids.append(int(self.model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
            if ids[-1] == self.tokenizer.eos_token_id:
                break
        return ids[len(prompt) :]

    def text(self, ids: list[int]) -> str:
        """The text of ids, without special tokens."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))


__all__ = ["BOS", "EOS", "LETTERS", "SENTENCES", "SHOTS", "Reference", "answered", "folder_of", "questions"]
