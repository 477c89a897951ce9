"""One file to read: what `read`, the hub and frames from memory have in common."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Input:
    """One file to read: `path` on disk, and `name`, how reports name it."""

    path: Path
    name: str
