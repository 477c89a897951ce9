"""The memory of one training step from arithmetic alone: instant, and independent of what `trace.py` observes.

With P parameters (Pt of them trained), in L blocks of B and a root of R (embeddings, last norm, output layer), sharded
over W GPUs, computed in c bytes (2 for bf16, 4 for fp32), a bin of T tokens, hidden size h:

**Always there.** fp32 masters 4P/W, fp32 gradients 4Pt/W, AdamW's moments 8Pt/W: 16P/W where all is trained
(Rajbhandari et al., 2020, arXiv 1910.02054, section 3.1, come to the same 16 bytes). Gradients are there throughout
when a step has several bins; with one bin they grow from block to block of the backward.

**Working copies.** The root is gathered for the whole of forward and backward: cR. A block is gathered for its own
time: cB, and again cB a message buffer that holds the next (forward: also the previous) one. Its gradients, cB, are
copied to fp32 to be reduced, 4B, and that buffer lives until the next block's takes its place. The root's gradients go
the same way at the end; a tied embedding has two and their sum. W = 1 gathers nothing; without sharding (one GPU in
fp32) there are no copies at all, but the gradient of one matrix at a time.

**Activations.** With checkpointing a block keeps its input, cTh. Without, autograd keeps per token and block (f the
width of the feed-forward layer, q = heads x head size, k that of keys and values):

    RMSNorm    its input in fp32, what is normalised, the result               4h + 2ch   x 2
    LayerNorm  its input and the result                                        2ch        x 2 (parallel: input once)
    attention  queries, keys, values, what comes out; a logarithm a head       c(2q + 2k) + 4 heads
               rotated from one fused projection: that too, and a copy         c(2q + 3q + 2q)
    gated      gate, its activation, up, their product                         4cf
    plain      relu keeps its result, gelu also its input, gelu_new five       cf, 2cf, 5cf
    dropout    a mask each                                                     ch         x 2

In the backward of a block its gradients cB and three temporaries of the feed-forward layer, 3cTf, come on top; the two
do not peak together. With checkpointing the block's activations are there again.

**Loss.** The gradient of the output layer in fp32, 4Vh, and a product to be added to it, cVh; a chunk of logits (2^24
numbers, or those of 512 positions) in c and fp32; the hidden states after the last norm, of the supervised positions
and their gradient, 3cTh.
"""

from dataclasses import dataclass, fields
from typing import Any

from transformers import PretrainedConfig

from caravan.errors import UserError
from caravan.train import model as models
from caravan.train.config import DPOConfig, TrainConfig
from caravan.train.loss import chunk_rows

EMBEDDING = "embedding"
LOSS = "loss"
ROOT = "embedding's gradient"
OPTIMIZER = "optimizer"
_LAYER_NORM = ("gpt_neox", "opt", "gpt2")


@dataclass(frozen=True)
class Parts:
    """Bytes on one device, by what they are for."""

    parameters: float = 0  # fp32 masters, this rank's shard; and buffers
    gradients: float = 0  # the shard's, in fp32
    optimizer: float = 0  # AdamW's two moments
    working: float = 0  # whole copies of what is sharded: gathered weights, gradients on their way to their shard
    activations: float = 0  # what the backward needs of the forward, and temporaries
    loss: float = 0  # a chunk of logits, and the output layer's gradient in fp32

    @property
    def total(self) -> float:
        """Sum of all parts."""
        return float(sum(getattr(self, field.name) for field in fields(self)))

    def __add__(self, other: "Parts") -> "Parts":
        return Parts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: "Parts") -> "Parts":
        return self + other * -1

    def __mul__(self, factor: float) -> "Parts":
        return Parts(*(getattr(self, f.name) * factor for f in fields(self)))


@dataclass(frozen=True)
class Sizes:
    """What a model's memory follows from. `block` and `root` count parameters, `trained_*` those that are trained."""

    layers: int
    block: float  # the mean of all blocks
    root: int
    trained_block: float
    trained_root: int
    trained_head: int  # of the output layer, tied or not
    embedding: int
    tied: bool
    vocabulary: int
    hidden: int
    feed: int
    queries: int
    keys: int
    heads: int
    kind: str
    activation: str
    dropout: bool

    @property
    def parameters(self) -> float:
        """All parameters; tied ones once."""
        return self.layers * self.block + self.root

    @property
    def trained(self) -> float:
        """Parameters that are trained."""
        return self.layers * self.trained_block + self.trained_root


def sizes(config: PretrainedConfig, run: TrainConfig) -> Sizes:
    """Count a model's parameters (on the meta device: no memory) and read the rest off its configuration."""
    text = config.get_text_config()
    if getattr(text, "num_attention_heads", 0) < 1 or getattr(text, "num_hidden_layers", 0) < 1:
        raise UserError("no layers with attention heads: not planned, nor trained", where=str(text.model_type))
    model = models.skeleton(config)
    if run.lora_rank:
        models.add_adapters(model, run)
    layers = models.blocks(model)

    def count(modules: list[Any], trained: bool) -> int:
        return sum(p.numel() for m in modules for p in m.parameters() if p.requires_grad or not trained)

    heads = int(text.num_attention_heads)
    head_size = int(getattr(text, "head_dim", None) or text.hidden_size // heads)
    feed = next((n for n in (getattr(text, a, None) for a in ("intermediate_size", "ffn_dim", "n_inner")) if n), None)
    blocks, trained_blocks = count(layers, False), count(layers, True)
    return Sizes(
        layers=len(layers),
        block=blocks / len(layers),
        root=count([model], False) - blocks,
        trained_block=trained_blocks / len(layers),
        trained_root=count([model], True) - trained_blocks,
        trained_head=count([model.get_output_embeddings()], True),
        embedding=int(model.get_input_embeddings().weight.numel()),
        tied=model.get_input_embeddings().weight is model.get_output_embeddings().weight,
        vocabulary=int(text.vocab_size),
        hidden=int(text.hidden_size),
        feed=int(feed or 4 * text.hidden_size),
        queries=heads * head_size,
        keys=int(getattr(text, "num_key_value_heads", None) or heads) * head_size,
        heads=heads,
        kind=str(text.model_type),
        activation=str(getattr(text, "hidden_act", None) or getattr(text, "activation_function", "silu")),
        dropout=any(getattr(text, name, 0.0) for name in ("dropout", "hidden_dropout", "resid_pdrop")),
    )


def kept_per_token(size: Sizes, c: int) -> float:
    """Bytes that autograd keeps of one block a token, without checkpointing; the module's docstring derives them."""
    h, q, k, f = size.hidden, size.queries, size.keys, size.feed
    act = {"relu": 1, "gelu_new": 5}.get(size.activation, 2)
    masks = 2 * c * h if size.dropout else 0
    if size.kind == "gpt_neox":
        return 3 * c * h + 7 * c * q + act * c * f + masks + 4 * size.heads
    if size.kind in ("opt", "gpt2"):
        return 4 * c * h + c * (2 * q + 2 * k) + act * c * f + masks + 4 * size.heads
    return 2 * (4 + 2 * c) * h + c * (2 * q + 2 * k) + 4 * c * f + masks + 4 * size.heads


def bin_tokens(run: TrainConfig) -> int:
    """Tokens that a GPU computes at a time, at most."""
    return run.max_length * run.micro_batch_size * (2 if isinstance(run, DPOConfig) else 1)


def unsharded(run: TrainConfig, gpus: int) -> bool:
    """Whether the run starts no process group: nothing is sharded then, and nothing copied."""
    return gpus == 1 and run.precision == "fp32" and not run.cpu_offload


def estimate(size: Sizes, run: TrainConfig, gpus: int, *, accumulates: bool = True) -> dict[str, Parts]:
    """Peak bytes on one of `gpus` GPUs in each phase of a step that is not the first; keys as `trace` has them.

    Only the phases that can be the peak are here: the last block's forward, the loss, the backward of the last blocks
    and of the first, the embedding's gradient, the optimizer.
    """
    shards = gpus // run.replicas
    whole = unsharded(run, gpus)
    c = 2 if run.precision == "bf16" else 4
    t, h = bin_tokens(run), size.hidden
    last = size.layers - 1
    block, root, grads, root_grads = size.block, size.root, size.trained_block, size.trained_root
    head = size.trained_head
    share = {"full": 1.0, "selective": 0.5, "none": 0.0}[run.activation_checkpointing]
    kept = kept_per_token(size, c) * t
    per_block = share * c * t * h + (1 - share) * kept
    again = kept if share else 0.0  # recomputed in the backward
    feeding = 3 * c * t * size.feed
    gathering = 0 if whole or shards == 1 else c * block
    copies, own_copy = (0, 0.0) if whole else (c * root, c * block)
    fixed = Parts(4 * size.parameters / shards, 0, 8 * size.trained / shards)
    all_grads = Parts(gradients=4 * size.trained / shards)
    # Ranks that hold the same shard add theirs up; FSDP2 keeps every block's sum until the backward ends.
    summed = 4 * grads / shards if run.replicas > 1 and accumulates else 0.0

    def before(blocks_done: float) -> Parts:
        """What lies there while the backward has this many blocks behind it."""
        so_far = all_grads if accumulates else Parts(gradients=4 * grads * blocks_done / shards)
        return fixed + so_far + Parts(working=summed * blocks_done)

    def backward(index: int) -> Parts:
        done = last - index
        own = 0.0 if whole else c * block + (gathering if index else 0.0) + (4 * grads if done else 0.0)
        matrix = grads / block * h * size.feed * c
        inside = max(again + feeding + matrix, 0.5 * again + c * grads)
        held = per_block * (index if share else index + 1) + inside
        return before(done) + Parts(working=copies + own + (0.0 if whole else c * head), activations=held)

    chunk = min(chunk_rows(size.vocabulary), t) * size.vocabulary * (4 + c if c == 2 else 4)
    scoring = 4 * head + chunk + (c * head if c == 2 else 0) + c * t * h
    norm = 2 * c * t * h if size.kind in _LAYER_NORM else (4 + 2 * c) * t * h
    tied = 2 * size.embedding if size.tied and head else 0  # two gradients and their sum are there at once
    reduced = max((c + 4) * root_grads, 4 * root_grads * (1 + 1 / shards) + (0 if size.tied else c * head))
    made = copies + c * (root_grads + tied) + 4 * grads
    embedded = 4 * (size.embedding + tied) if root_grads else 0
    return {
        EMBEDDING: before(0) + Parts(working=0.0 if whole else (2 if gathering else 1) * (copies + c * block)),
        f"forward {max(last - 1, 0)}": before(0)
        + Parts(working=copies + own_copy + 2 * gathering, activations=per_block * max(last - 1, 0)),
        f"forward {last}": before(0)
        + Parts(
            working=copies + own_copy + gathering,
            activations=per_block * last + (feeding if share == 1 else kept),
        ),
        LOSS: before(0)
        + Parts(working=copies + gathering, activations=per_block * (last + 1), loss=scoring + norm + c * t * h),
        **{f"backward {index}": backward(index) for index in (last, max(last - 1, 0), min(1, last), 0)},
        ROOT: before(last + 1)
        + (Parts(activations=embedded) if whole else Parts(working=max(reduced, made), activations=c * t * h)),
        OPTIMIZER: fixed + all_grads,
    }
