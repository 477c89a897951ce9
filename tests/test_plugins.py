"""Plugins: found without importing, named by their file, doubled names refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from caravan import plugins
from caravan.errors import PluginError, UserError, did_you_mean


def test_listing_imports_no_plugin() -> None:
    code = (
        "import sys\nfrom caravan import plugins\n"
        "names = [n for kind in plugins.KINDS for n in plugins.find(kind)]\n"
        "assert len(names) > 20\n"
        "assert not [m for m in sys.modules if m.startswith('caravan.') and m.count('.') > 2], sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(PluginError, match="no plugin 'alpacca' among the converters; did you mean 'alpaca'"):
        plugins.load("converters", "alpacca")


def test_two_plugins_of_one_name_are_refused_naming_both(tmp_path: Path) -> None:
    info = tmp_path / "rival-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rival\nVersion: 1\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[caravan.converters]\nalpaca = rival_alpaca\n", encoding="utf-8")
    (tmp_path / "rival_alpaca.py").write_text("", encoding="utf-8")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from caravan import plugins\nfrom caravan.errors import PluginError\n"
        "try: plugins.find('converters')\n"
        "except PluginError as error: print(error)"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "two converters are named 'alpaca'" in shown
    assert "rival_alpaca" in shown
    assert "caravan.converters.sources.alpaca" in shown


def test_an_error_says_what_where_and_what_to_do() -> None:
    error = UserError("it is broken", where="a.json:3", fix="mend it")
    assert str(error) == "a.json:3: it is broken; mend it"
    assert did_you_mean("zzz", ["b", "a"]) == "known: a, b"
    assert did_you_mean("zzz", []) == "known: none"
