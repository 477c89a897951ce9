"""A model's folder: one on this machine, or one fetched from the hub (safetensors, config and tokenizer; no code)."""

from pathlib import Path

from caravan.cache import file_sha256, key
from caravan.errors import UserError

# Whatever a model brings beside these (pickled weights, Python files) is never fetched.
CONFIG = ["*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.*"]
WEIGHTS = [*CONFIG, "*.safetensors"]


def fingerprint(folder: Path) -> str:
    """Names a model by its config and the names and sizes of its weights: enough to tell a swap, and quick to read."""
    weights = [[path.name, path.stat().st_size] for path in sorted(folder.glob("*.safetensors"))]
    return key(file_sha256(folder / "config.json"), weights)


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
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, _, revision = name.partition("@")
    try:
        return Path(
            snapshot_download(repository, revision=revision or None, allow_patterns=WEIGHTS if weights else CONFIG)
        )
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        why = f"the hub answers {status}" if status else "the hub cannot be reached, and it was not fetched before"
        fix = "check the name and HF_TOKEN" if status else "name a folder, or fetch it where there is a network"
        raise UserError(f"no such model: {why}", where=name, fix=fix) from None
