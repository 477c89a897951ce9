"""How toxic a text is, by a sequence-classification model: a folder, or one of the hub. Safetensors, no remote code.

The toxic label is read from the model's own names (`id2label`): those that say toxic, hate, offensive, abusive, and
not "non-", "not", "no". With no names at all (LABEL_0, LABEL_1) it is the second, as in ToxiGen's published RoBERTa.
A model of one label, or of labels that do not exclude one another, is read by sigmoid, any other by softmax.
"""

import re
from collections.abc import Sequence
from typing import Any

from caravan.errors import UserError
from caravan.terminal import Progress

DEFAULT = "tomh/toxigen_roberta"
BATCH_TOKENS = 8192
BATCH = 64
DIGITS = 6  # of a probability: sums differ beyond them with what stands in the same batch

TOXIC = re.compile(r"toxic|hate|offens|abus|insult|obscen", re.I)
NOT_TOXIC = re.compile(r"\b(?:non|not|no|un|anti)[\s_-]?(?=toxic|hate|offens|abus)", re.I)


def classify(texts: Sequence[str], name: str = DEFAULT, *, progress: Progress | None = None) -> list[float]:
    """The probability (0..1, six digits) that each text is toxic, by the classifier `name`: a folder, or OWNER/NAME.

    Texts are cut to the classifier's length. Each distinct text is read once, in batches of like length, so neither
    order nor repetition matters. Raises `UserError` for a model that is none, or whose labels cannot be told apart.
    """
    progress = progress or Progress(quiet=True)
    if not texts:
        return []
    tokenizer, model, toxic = _load(name)
    distinct = sorted(set(texts))
    encoded = _encoded(tokenizer, distinct, _longest(tokenizer, model))
    order = sorted(range(len(distinct)), key=lambda i: (len(encoded[i]), i))
    found: dict[str, float] = {}
    batches = _batches(order, encoded, BATCH if model.config.pad_token_id is not None else 1)
    for batch in progress.track(batches, "classifier", len(distinct), "texts", len):
        values = _probabilities(model, toxic, [encoded[i] for i in batch])
        found |= {distinct[i]: round(value, DIGITS) for i, value in zip(batch, values, strict=True)}
    return [found[one] for one in texts]


def toxic_labels(labels: dict[int, str]) -> list[int]:
    """The numbers of the labels that mean toxic; empty where the names do not say."""
    named = [n for n, name in sorted(labels.items()) if TOXIC.search(name) and not NOT_TOXIC.search(name)]
    if named and len(named) < max(len(labels), 2):
        return named
    if sorted(labels.values()) == ["LABEL_0", "LABEL_1"]:
        return [n for n, name in labels.items() if name == "LABEL_1"]
    return [0] if list(labels.values()) == ["LABEL_0"] else []


def _load(name: str) -> tuple[Any, Any, list[int]]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging

    from caravan.train.hub import find_model, said

    folder = find_model(name)
    if not any(folder.glob("*.safetensors")):
        fix = (
            "name a folder with model.safetensors, or a revision of the hub that has it, such as "
            f"{name}@refs/pr/1: the hub's converter proposes one as a pull request"
        )
        raise UserError("its weights are no safetensors", where=name, fix=fix)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            folder, trust_remote_code=False, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"no classifier: {said(error)}", where=name, fix="name a text classifier's folder") from None
    finally:
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
    if missing := sorted(loading["missing_keys"]):  # a language model's folder: the library would invent the rest
        raise UserError(f"no classifier: {missing[0]} is not in its weights", where=name, fix="name a text classifier")
    labels = {int(n): str(label) for n, label in model.config.id2label.items()}
    toxic = toxic_labels(labels)
    if not toxic:
        told = ", ".join(labels[n] for n in sorted(labels))
        raise UserError(f"which label means toxic? It has {told}", where=name, fix="name it so in id2label (config)")
    return tokenizer, model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), toxic


def _longest(tokenizer: Any, model: Any) -> int:
    """Tokens that the classifier can read. RoBERTa counts positions from beyond its padding token's id."""
    config = model.config
    known: int = getattr(config, "max_position_embeddings", 0) or 1 << 20
    if config.model_type in ("roberta", "xlm-roberta", "camembert"):
        known -= config.pad_token_id + 1
    return min(known, int(tokenizer.model_max_length))


def _encoded(tokenizer: Any, texts: Sequence[str], longest: int) -> list[list[int]]:
    return [list(ids) for ids in tokenizer(list(texts), truncation=True, max_length=longest)["input_ids"]]


def _batches(order: Sequence[int], encoded: Sequence[Sequence[int]], most: int) -> list[list[int]]:
    """Neighbours in order of length, as many as fit."""
    batches: list[list[int]] = []
    for i in order:
        room = min(most, BATCH_TOKENS // max(len(encoded[i]), 1))
        if batches and len(batches[-1]) < room:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def _probabilities(model: Any, toxic: list[int], batch: Sequence[list[int]]) -> list[float]:
    import torch

    width, pad = max(map(len, batch)), model.config.pad_token_id or 0
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in batch], device=model.device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in batch], device=model.device)
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=mask).logits.double().cpu()
    if model.config.problem_type == "multi_label_classification" or logits.shape[1] == 1:
        return [float(p) for p in logits.sigmoid()[:, toxic].amax(1)]
    return [min(float(p), 1.0) for p in logits.softmax(1)[:, toxic].sum(1)]
