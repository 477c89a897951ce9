"""A tokenizer and models small enough for a test: made on the spot, saved as the folders that a person would name."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
FAMILIES = ("llama", "qwen2", "mistral", "gpt_neox", "opt", "gpt2")

SENTENCES = [
    "The baker opens her shop at six and sells out of rye bread before nine.",
    "Which river runs through the old town, and how many bridges cross it?",
    "Mix two spoons of flour with one spoon of water, then let the dough rest for an hour.",
    "Der Zug nach Basel fährt um acht Uhr vierzig von Gleis sieben ab.",
    "She counted the sheep twice: there were forty-two of them, and one was black.",
    "def add(a, b):\n    return a + b\n",
    "Thank you for asking. The answer is that nobody knows for certain.",
    "<|user|>\nWhat is the capital of Kenya?\n<|assistant|>\nNairobi is the capital of Kenya.\n",
    "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
]


def tiny_tokenizer(
    folder: Path, chat_template: str | None = None, *, adds_bos: bool = True, special: tuple[str, ...] = ()
) -> Any:
    """A byte-level BPE of about 400 tokens with <s>, </s>, <pad> and `special`, saved into `folder`; gives it loaded.

    `adds_bos`: whether the tokenizer itself puts <s> before a text, as Llama's does and GPT-2's does not.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[BOS, EOS, PAD, *special],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in (BOS, EOS, PAD, *special)])
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
        )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=PAD)  # type: ignore[no-untyped-call]
    fast.chat_template = chat_template
    fast.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def tiny_model(
    family: str, folder: Path, tied: bool = False, *, vocab: int = 400, seed: int = 0, hidden: int = 32
) -> Path:
    """A random model of a family (2 layers, 4 heads, 512 positions), saved into `folder`, which it gives."""
    shape: dict[str, Any] = {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
        "tie_word_embeddings": tied,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
    }
    if family in ("llama", "qwen2", "mistral"):
        shape |= {"intermediate_size": 64, "num_key_value_heads": 2}
    if family == "gpt_neox":
        shape |= {"intermediate_size": 64}
    if family == "opt":
        # Its own relu has a kink: one rounding switches a unit, and gradient norms differ from the fourth digit on.
        shape |= {"ffn_dim": 64, "word_embed_proj_dim": hidden, "dropout": 0.0, "activation_function": "gelu"}
    if family == "gpt2":
        shape |= {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    config = AutoConfig.for_model(family, **shape)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    model.save_pretrained(folder)
    return folder
