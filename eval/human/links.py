"""Signed links: whoever holds one is the annotator that it names, and nobody can make one without the store's secret.

The secret is 32 random bytes in a file beside the votes that only its owner may read. A token is the name and its
HMAC-SHA256; deleting the secret makes all links void.
"""

import hmac
import os
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from caravan.errors import UserError

LENGTH = 32


def secret(path: Path) -> bytes:
    """The secret of a store, made (mode 600) if there is none."""
    with suppress(FileExistsError):
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(secrets.token_bytes(LENGTH))
                os.fsync(file.fileno())
            os.link(aside, path)  # fails where another process was first: there is never half a secret
        finally:
            aside.unlink(missing_ok=True)
    found = path.read_bytes()
    if len(found) != LENGTH:
        raise UserError("not a secret of 32 bytes", where=str(path), fix="delete it: new links will be made")
    if path.stat().st_mode & 0o077:
        raise UserError(
            "others may read the secret that signs the links", where=str(path), fix=f"run `chmod 600 {path}`"
        )
    return found


def sign(key: bytes, purpose: str, text: str) -> str:
    """A signature of a text for one purpose, in letters that a URL may hold."""
    return _letters(hmac.digest(key, f"{purpose}\0{text}".encode(), sha256)[:18])


def token(key: bytes, name: str) -> str:
    """The token that makes its holder the annotator `name`."""
    return f"{_letters(name.encode())}.{sign(key, 'link', name)}"


def holder(key: bytes, given: str) -> str | None:
    """The annotator whose token this is; None where it is not a token of this store."""
    letters, _, signature = given.partition(".")
    try:
        name = urlsafe_b64decode(letters + "=" * (-len(letters) % 4)).decode()
    except (Error, ValueError):
        return None
    return name if hmac.compare_digest(token(key, name).encode(), f"{letters}.{signature}".encode()) else None


def _letters(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
