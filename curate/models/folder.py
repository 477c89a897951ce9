"""A transformers model from a folder of this machine, for the quality parts that need one (extra `lm`).

Only safetensors are read, no code that a folder brings is run, and no network is asked.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import JsonValue

from caravan.cache import file_sha256
from caravan.curate.exchanges import Exchanges
from caravan.errors import UserError

Device = Literal["auto", "cpu", "cuda"]
Kind = Literal["AutoModelForCausalLM", "AutoModel"]

_READ = ("*.json", "*.jinja", "*.safetensors", "*.txt", "*.model")
_STEP = 64  # on a GPU, sequences are padded to a multiple of it
_TOKENS = 8192  # and stand in batches of that many


class LocalModel:
    """A model, its tokenizer, and the shape of the batches that they read."""

    def __init__(self, folder: Path, kind: Kind, device: Device) -> None:
        """Load both; `UserError` for a folder that holds no such model, and where transformers is not installed."""
        checked(folder)
        try:
            import torch
            import transformers

            from caravan.train.loadback import quiet
        except ImportError:
            fix = "pip install 'caravan[lm]'"
            raise UserError(
                "needs torch and transformers, which are not installed", where=str(folder), fix=fix
            ) from None
        from caravan.train.hub import said

        there = torch.cuda.is_available()
        if device == "cuda" and not there:
            raise UserError("no GPU is there", where='device = "cuda"', fix='leave it out, or write "cpu"')
        self.device = torch.device("cuda" if there and device != "cpu" else "cpu")
        own: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
        try:
            with quiet():
                self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, **own)
                model, told = getattr(transformers, kind).from_pretrained(
                    folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **own
                )
        except Exception as error:  # the package raises whatever it likes for what is wrong with the files
            raise UserError(f"no usable model: {said(error)}", where=str(folder), fix="name another folder") from None
        if missing := sorted(told["missing_keys"]):  # the library would invent them
            what = f"{missing[0]} is not in its weights"
            raise UserError(what, where=str(folder), fix="name a folder whose weights are of the model that it names")
        try:
            self.known = int(model.get_input_embeddings().num_embeddings)
        except (AttributeError, NotImplementedError):
            raise UserError("is no model of text", where=str(folder), fix="name another folder") from None
        self.folder = folder
        self.model = model.eval().to(self.device)
        self.alone = self.device.type == "cpu"  # a batch is no faster there

    def encoded(self, texts: Sequence[str]) -> list[list[int]]:
        """Each text's tokens, without those that begin or end a text."""
        if not texts:
            return []
        return self.in_range(self.tokenizer(list(texts), add_special_tokens=False)["input_ids"])

    def in_range(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        """Token ids as they are; `UserError` where the weights have none of one: the tokenizer is another model's."""
        most = max((max(ids) for ids in rows if ids), default=-1)
        if most >= self.known:
            what = f"its tokenizer gives token {most:,}, its weights know {self.known:,}"
            fix = "name a folder whose tokenizer is the model's own"
            raise UserError(what, where=str(self.folder), fix=fix)
        return [list(ids) for ids in rows]

    @property
    def positions(self) -> int:
        """How many tokens the model can read at once: a multiple of what sequences are padded to."""
        known = int(getattr(self.model.config, "max_position_embeddings", None) or 1 << 20)
        return known // _STEP * _STEP or known


def batches(lengths: Sequence[int], alone: bool) -> Iterator[tuple[list[int], tuple[int, int]]]:
    """Which sequences are computed together, and in what shape (rows, tokens); those without tokens in none.

    The shape follows from the length of a sequence alone, not from what else there is: rows that are not needed stay
    empty. The same sum is then done in the same order whatever stands beside a sequence. `alone`: each is its own.
    """
    padded = [n if alone else -(-n // _STEP) * _STEP for n in lengths]
    order = sorted((i for i, n in enumerate(lengths) if n), key=lambda i: padded[i])
    start = 0
    while start < len(order):
        width = padded[order[start]]
        rows = 1 if alone else max(1, _TOKENS // width)
        batch = [i for i in order[start : start + rows] if padded[i] == width]
        yield batch, (rows, width)
        start += len(batch)


@contextmanager
def one_thread() -> Iterator[None]:
    """Within, torch adds up in one thread: more would change last digits, and workers are one a processor already."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def checked(folder: Path) -> Path:
    """The folder, if it looks like a model's: `UserError` where it has no config or no safetensors."""
    if not (folder / "config.json").is_file():
        fix = "name the folder of a transformers model (config.json, tokenizer, safetensors)"
        raise UserError("is no model's folder: no config.json", where=str(folder), fix=fix)
    if not any(folder.glob("*.safetensors")):
        fix = "pickled weights (*.bin) are not read: convert them, or take a revision that has safetensors"
        raise UserError("no *.safetensors", where=str(folder), fix=fix)
    return folder


def fingerprint(folder: Path) -> dict[str, JsonValue]:
    """SHA-256 of each file that values depend on, by name: weights, config, tokenizer, chat template."""
    paths = sorted({path for pattern in _READ for path in checked(folder).glob(pattern)})
    return {path.name: digest(path) for path in paths}


def digest(path: Path) -> str:
    """SHA-256 of a file, which is read again only where its size or time has changed: each batch asks for it."""
    found = path.stat()
    return _digest(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest(path: Path, size: int, changed: int) -> str:  # noqa: ARG001
    return file_sha256(path)


def asked(exchanges: Exchanges) -> list[str]:
    """What each answer may take up: the exchange before it, if there is one, and its prompt."""
    prompts, answers = exchanges.prompts.read.to_list(), exchanges.answers.read.to_list()
    return [
        "\n\n".join([prompts[i - 1], answers[i - 1], prompt]) if follows else prompt
        for i, (prompt, follows) in enumerate(zip(prompts, exchanges.follows.tolist(), strict=True))
    ]
