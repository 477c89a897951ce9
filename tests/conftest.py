"""What all tests share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real files; tests that ask for it carry the marker `real`."""
    folder = Path(os.environ.get("REAL_DATA", ROOT.parent / "real-data"))
    if not folder.is_dir():
        pytest.fail(f"{folder} is missing: lay out the real files first, or set REAL_DATA")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("CARAVAN_CACHE", str(tmp_path / "cache"))
