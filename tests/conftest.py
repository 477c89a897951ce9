"""What all tests share."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rawrows import alpaca_rows, message_rows

ROOT = Path(__file__).parents[1]
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side on tiny models: threads only get in the way


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real files; tests that ask for it carry the marker `real`."""
    folder = Path(os.environ.get("REAL_DATA", ROOT.parent / "real-data"))
    if not folder.is_dir():
        pytest.fail(f"{folder} is missing: lay out the real files first, or set REAL_DATA")
    return folder


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nor do fixtures that outlive a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARAVAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("CARAVAN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A folder of three raw files: 60 Alpaca rows in two files, 40 chat rows in one."""
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "alpaca_a.json").write_text(json.dumps(alpaca_rows(40)), encoding="utf-8")
    (folder / "alpaca_b.json").write_text(json.dumps(alpaca_rows(20, first=40)), encoding="utf-8")
    lines = "".join(json.dumps(row) + "\n" for row in message_rows(40))
    (folder / "chats.jsonl").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture
def alpaca_file(tmp_path: Path) -> Callable[[str, list[dict[str, str]]], Path]:
    """Write rows as an Alpaca file of a name."""

    def write(name: str, rows: list[dict[str, str]]) -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(rows), encoding="utf-8")
        return path

    return write
