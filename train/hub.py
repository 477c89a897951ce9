"""A model's folder: one on this machine, or one fetched from the hub (safetensors, config and tokenizer; no code)."""

from hashlib import blake2b
from pathlib import Path

from huggingface_hub.errors import StrictDataclassError

from caravan.cache import file_sha256, key
from caravan.errors import UserError

# Whatever a model brings beside these (pickled weights, Python files) is never fetched.
CONFIG = ["*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.*"]
WEIGHTS = [*CONFIG, "*.safetensors"]
OTHER_FORMATS = ["consolidated*", "original/*"]  # the same weights once more, under other names
BLOCKS, BLOCK = 256, 1 << 16


def fingerprint(folder: Path) -> str:
    """Names a model by its config, and of its weights by sizes, headers and blocks taken evenly from each file.

    Two fine-tunings of one model agree in sizes and headers, but hardly in a block: quick, where hashing all is not.
    """
    return key(file_sha256(folder / "config.json"), [_sampled(path) for path in sorted(folder.glob("*.safetensors"))])


def _sampled(path: Path) -> list[str | int]:
    size, found = path.stat().st_size, blake2b(digest_size=16)
    with path.open("rb") as file:
        for block in range(BLOCKS):
            file.seek(block * max(size - BLOCK, 0) // (BLOCKS - 1))
            found.update(file.read(BLOCK))
    return [path.name, size, found.hexdigest()]


def said(error: Exception) -> str:
    """What an error of a library says, in one line: the last one, where the first only names a check of theirs."""
    lines = str(error).splitlines() or [type(error).__name__]
    return (lines[-1] if isinstance(error, StrictDataclassError) else lines[0]).strip()


def _status(error: BaseException | None) -> int | None:
    """The status that the hub answered with, of an error or of what it came from."""
    while error is not None:
        found: int | None = getattr(getattr(error, "response", None), "status_code", None)
        if found is not None:
            return found
        error = error.__cause__ or error.__context__
    return None


def find_model(name: str, *, weights: bool = True) -> Path:
    """The folder of a model. `name` is a folder, or OWNER/NAME[@REVISION] on the hub.

    `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME` and `HF_HUB_OFFLINE` count as everywhere. Raises `UserError` for a name that
    is neither, and when the hub does not answer or does not give it.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UserError("no config.json", where=name, fix="name a Hugging Face model's folder")
        return folder
    if folder.is_absolute() or name.count("/") != 1 or name.startswith("."):
        raise UserError("no such folder", where=name, fix="name a model's folder, or OWNER/NAME on the hub")
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    try:
        return Path(
            snapshot_download(
                repository,
                revision=revision or None,
                allow_patterns=WEIGHTS if weights else CONFIG,
                ignore_patterns=OTHER_FORMATS,
            )
        )
    except ValueError as error:
        fix = "check the name and HF_ENDPOINT"
        raise UserError(f"no such model: {said(error)}", where=name, fix=fix) from None
    except OSError as error:
        status = _status(error)
        why = f"the hub answers {status}" if status else "the hub cannot be reached, and it was not fetched before"
        fix = "check the name and HF_TOKEN" if status else "name a folder, or fetch it where there is a network"
        raise UserError(f"no such model: {why}", where=name, fix=fix) from None
