"""A fresh environment with caravan's wheel in it: what the wheel holds, and a stranger's plugins beside ours."""

import json
import os
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("converters", "mixtures", "curate", "eval", "train")
PYPROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "acme-data"
version = "1"

[project.entry-points."caravan.converters"]
support_tickets = "acme_data.support_tickets"

[project.entry-points."caravan.filters"]
acme = "acme_data.filters"
"""
FILTER = '''
"""Shouting: rows in capitals."""

import polars as pl

from caravan.curate import filter as contract

VERSION = 1
COLUMNS = {"capitals": pl.Float64()}
REASONS = ("shouting",)
TRY = {"capitals": (0.5, 0.9)}


class Settings(contract.Settings):
    """None."""


class Limits(contract.Limits):
    """The largest share of capital letters."""

    capitals: float = 0.5


def fingerprint(settings):
    return {}


def measure(batch, settings):
    text = batch["messages"].list.last().struct.field("content")
    return pl.DataFrame({"capitals": text.str.count_matches("[A-Z]") / text.str.len_chars()})


def verdict(limits):
    return pl.when(pl.col("capitals") > limits.capitals).then(pl.lit("shouting"))
'''


def documented_converter() -> str:
    """The example of docs/plugins.md, as a reader would copy it."""
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    return page.partition("```python\n")[2].partition("```")[0]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    clone = folder / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    pip(sys.executable, "wheel", "--no-deps", "-w", str(folder), str(clone))
    (found,) = folder.glob("caravan-*.whl")
    return found


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment: caravan's wheel, the stranger's package, and the libraries of the one that runs the tests."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip(python, "install", "--no-deps", str(wheel))
    package = tmp_path_factory.mktemp("acme")
    (package / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (package / "acme_data" / "filters").mkdir(parents=True)
    (package / "acme_data" / "__init__.py").write_text("", encoding="utf-8")
    (package / "acme_data" / "filters" / "__init__.py").write_text("", encoding="utf-8")
    (package / "acme_data" / "filters" / "shouting.py").write_text(FILTER, encoding="utf-8")
    (package / "acme_data" / "support_tickets.py").write_text(documented_converter(), encoding="utf-8")
    pip(python, "install", "--no-deps", str(package))
    libraries = [path for path in site.getsitepackages() if Path(path).is_dir()]
    ours = next((folder / "lib").glob("python*/site-packages"))
    (ours / "libraries.pth").write_text("\n".join(libraries) + "\n", encoding="utf-8")
    return folder


def pip(python: str | Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, capture_output=True)


def curate(environment: Path, *arguments: str, cwd: Path) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(environment / "bin" / "curate"), *arguments],
        cwd=cwd,
        env=clean | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.xdist_group("wheel")
def test_the_wheel_holds_what_the_tree_holds(wheel: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", *ROOMS], cwd=ROOT, check=True, capture_output=True, text=True)
    wanted = {f"caravan/{name}" for name in tracked.stdout.split()}
    wanted |= {f"caravan/{p.name}" for p in (ROOT / "src" / "caravan").glob("*.py")} | {"caravan/py.typed"}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == wanted


@pytest.mark.xdist_group("wheel")
def test_the_installed_command_runs_the_main_job_from_the_wheel(environment: Path, tmp_path: Path) -> None:
    record = json.loads(curate(environment, "build-mix", "--json", cwd=tmp_path))
    assert record["embedded_samples"]
    assert (tmp_path / "mix" / "report.html").exists()
    where = "import caravan.curate.build as b; print(b.__file__)"
    shown = subprocess.run(
        [str(environment / "bin" / "python"), "-c", where], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert shown.stdout.startswith(str(environment))


@pytest.mark.xdist_group("wheel")
def test_a_strangers_converter_and_filter_are_found_and_used(environment: Path, tmp_path: Path) -> None:
    tickets: list[dict[str, str | None]] = [
        {"subject": f"Order {n}", "body": "Where is it?", "reply": f"It left on day {n}."} for n in range(6)
    ]
    tickets += [
        {"subject": "Order 9", "body": "Where is it?", "reply": "IT IS NOT OUR FAULT."},
        {"subject": "Order 10", "body": "Where is it?", "reply": None},
    ]
    (tmp_path / "tickets.jsonl").write_text("".join(json.dumps(t) + "\n" for t in tickets), encoding="utf-8")
    listed = json.loads(curate(environment, "plugins", "converters", "--json", cwd=tmp_path))["plugins"]
    assert ("support_tickets", "acme-data") in {(p["name"], p["package"]) for p in listed}
    assert "read as support_tickets" in curate(environment, "convert", "tickets.jsonl", "-o", "x.parquet", cwd=tmp_path)
    options = ("--set", "filters.shouting.capitals=0.6", "--workers", "2", "--json")
    record = json.loads(curate(environment, "build-mix", "support_tickets=tickets.jsonl", *options, cwd=tmp_path))
    (source,) = record["sources"]
    assert source["files"][0]["codes"] == {"no_reply": 1}
    assert source["dropped"] == {"shouting": 1}
    assert source["drawn"] == 6
