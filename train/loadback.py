"""The proof that an exported folder is the model that was trained: loaded as anybody loads it, and compared.

Every tensor must be the trained one bit for bit, and on some rows of the run the logits must be those of the model in
its shards. Stock attention may sum in another order than ours, so logits agree to a tolerance, root mean square against
root mean square: 1e-5 in fp32, 0.1 in bf16, where each layer rounds to 8 bits (0.03 between a model of 30 layers
computed in bf16 and in fp32, as when a checkpoint is exported on a CPU; none where both compute alike).
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from caravan.errors import UserError
from caravan.train.chat_template import TokenizerTemplate
from caravan.train.encode import Encoded, Encoder
from caravan.train.launch import World
from caravan.train.loader import batch_of
from caravan.train.objective import Objective
from caravan.train.rows import Rows
from caravan.train.shard import reshard
from caravan.train.template import Refused, Template
from caravan.train.tokens import Tokens

ROWS, SHORT = 4, 256  # rows that are compared, of at most so many tokens if there are such
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.1}
ROOM = 2 * 2**30  # bytes of a GPU that are left to activations


@dataclass(frozen=True)
class Agreement:
    """What was compared: `tensors` bit for bit, logits at `positions`.

    `difference` is the root mean square of the logits' differences, as a part of that of the logits (each position's
    mean taken away, as only differences count); at `greedy` positions both models take the same next token.
    """

    tensors: int
    positions: int
    difference: float
    tolerance: float
    greedy: int


def chosen_rows(tokens: Tokens) -> list[int]:
    """The first few short rows; where there are none, the shortest."""
    rows = np.lexsort((np.arange(len(tokens)), np.maximum(tokens.lengths, SHORT)))[:ROWS]
    return [int(row) for row in rows]


def trained_logits(objective: Objective, tokens: Tokens, rows: Sequence[int], world: World) -> Tensor:
    """The logits [T, V] of these rows, end to end, by the model in its shards. Collective."""
    training = objective.training
    objective.eval()
    try:
        with torch.no_grad():
            _, _, logits = objective(batch_of(tokens, rows, world.device), None)
    finally:
        objective.train(training)
        reshard(objective)
    whole: Tensor = logits.float().cpu()
    return whole


def digest(tensor: Tensor) -> bytes:
    """A hash of a tensor's type, shape and bits."""
    held = tensor.detach().cpu().contiguous()
    told = hashlib.blake2b(f"{held.dtype} {list(held.shape)}".encode(), digest_size=16)
    told.update(held.reshape(-1).view(torch.uint8).numpy().data)
    return told.digest()


def compare_model(
    folder: Path,
    trained: Mapping[str, bytes],
    logits: Tensor,
    tokens: Tokens,
    rows: Sequence[int],
    device: torch.device,
) -> Agreement:
    """Load the folder and compare. `trained` has the digest of every tensor by the name that the model gives it.

    The model is computed on the device if it has the room, else on the CPU. Raises `UserError` for any difference.
    """
    auto: Any = AutoModelForCausalLM
    with quiet():
        model, told = auto.from_pretrained(folder, output_loading_info=True)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if told[kind]:
            raise _differs(f"{kind.replace('_', ' ')}: {', '.join(sorted(map(str, told[kind]))[:3])}")
    tensors = model.state_dict()
    for name, expected in trained.items():
        if name not in tensors or digest(tensors[name]) != expected:
            raise _differs(f"the tensor {name} is another one")
    if device.type == "cuda":
        torch.cuda.empty_cache()
        if sum(t.nbytes for t in tensors.values()) + ROOM < torch.cuda.mem_get_info(device)[0]:
            model.to(device)
    model.eval()
    with torch.no_grad():
        ids = [torch.from_numpy(tokens.ids[tokens.offsets[r] : tokens.offsets[r + 1]].astype(np.int64)) for r in rows]
        own = torch.cat([model(input_ids=row[None].to(model.device)).logits[0].float().cpu() for row in ids])
    return _compare_logits(logits, own, TOLERANCE[model.dtype], len(trained))


def _compare_logits(trained: Tensor, loaded: Tensor, tolerance: float, tensors: int) -> Agreement:
    if not bool(trained.isfinite().all()):
        raise UserError(
            "the trained model computes numbers that are not finite",
            fix="train again with a lower --lr; an earlier checkpoint can be exported: `train export --step N`",
        )
    trained, loaded = (logits - logits.mean(-1, keepdim=True) for logits in (trained, loaded))
    difference = float((trained - loaded).norm() / trained.norm().clamp(min=torch.finfo(torch.float32).tiny))
    if not difference <= tolerance:  # so that NaN fails too
        raise _differs(f"logits differ by {difference:.2g}, {tolerance:.2g} is allowed")
    taken, best = loaded.argmax(-1, keepdim=True), trained.argmax(-1, keepdim=True)
    lost = float((trained.gather(-1, best) - trained.gather(-1, taken)).max() / trained.abs().max())
    if lost > tolerance:
        raise _differs(f"greedy decoding takes a token that is {lost:.2g} of the largest logit worse")
    return Agreement(tensors, len(trained), difference, tolerance, int((taken == best).sum()))


def compare_tokenizer(folder: Path, template: Template, rows: Rows, tokens: Tokens, chosen: Sequence[int]) -> None:
    """Load the tokenizer and render and encode these rows anew; `UserError` unless it gives what was trained on."""
    auto: Any = AutoTokenizer
    fresh = auto.from_pretrained(folder)
    own, encoder = TokenizerTemplate(fresh), Encoder(fresh)
    for row in chosen:
        messages, weights = rows.frame.select("messages", "weights").row(int(tokens.row[row]))
        rendered = template.render(messages, weights)
        name = tokens.row_ids[row]
        try:
            same = own.render(messages, weights).text == rendered.text
        except Refused as refused:
            raise _differs(f"the chat template does not take row {name}: {refused}") from None
        if not same:
            raise _differs(f"the chat template renders row {name} otherwise than it was trained on")
        encoded = encoder.encode([rendered])[0]
        trained = tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]]
        if not isinstance(encoded, Encoded) or not np.array_equal(encoded.ids[: len(trained)], trained):
            raise _differs(f"the tokenizer gives row {name} other ids than it was trained on")
        stock = fresh(rendered.text, add_special_tokens=False)["input_ids"]
        if "special_in_text" not in encoded.notes and stock != encoded.ids.tolist():
            raise _differs(f"the tokenizer gives row {name} other ids than it was trained on")


def _differs(how: str) -> UserError:
    return UserError(
        f"what was exported is not what was trained: {how}",
        fix="nothing was written under the final name, and the checkpoint is whole: report this with the model's name",
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Without the bar that transformers shows while it loads weights, and what it advises meanwhile."""
    logger = logging.getLogger("transformers")
    level, bars = logger.level, transformers_logging.is_progress_bar_enabled()
    logger.setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logger.setLevel(level)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
