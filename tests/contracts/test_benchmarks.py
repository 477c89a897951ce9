"""What every benchmark plugin promises, checked on its embedded sample."""

from pathlib import Path

import pytest

from caravan.eval.benchmark import SAMPLES, Benchmark
from caravan.eval.benchmarks import (
    alpaca_eval,
    bbh,
    gsm8k,
    humaneval,
    ifeval,
    jsonl,
    mgsm,
    mmlu,
    toxigen,
    truthfulqa,
    tydiqa,
)
from caravan.plugins import find, load

# The annotation is the check: mypy compares each module with the contract.
BUILT_IN: dict[str, Benchmark] = {
    "alpaca_eval": alpaca_eval,
    "bbh": bbh,
    "gsm8k": gsm8k,
    "humaneval": humaneval,
    "ifeval": ifeval,
    "jsonl": jsonl,
    "mgsm": mgsm,
    "mmlu": mmlu,
    "toxigen": toxigen,
    "truthfulqa": truthfulqa,
    "tydiqa": tydiqa,
}
WITH_SAMPLE = sorted(set(BUILT_IN) - {"jsonl"})


def test_each_plugin_is_checked_here() -> None:
    ours = {name for name, plugin in find("benchmarks").items() if plugin.module.startswith("caravan.eval.benchmarks.")}
    assert ours == set(BUILT_IN)


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_a_plugin_says_its_version_licence_and_hub_id(name: str) -> None:
    module = load("benchmarks", name)
    assert module.VERSION >= 1
    assert isinstance(module.LICENCE, str)
    assert module.HUB is None or module.HUB.count("/") == 1
    assert module.__doc__


@pytest.mark.parametrize("name", WITH_SAMPLE)
def test_the_embedded_sample_gives_about_ten_items_with_ids_of_their_own(name: str) -> None:
    items = list(BUILT_IN[name].items(SAMPLES / name))
    assert 8 <= len(items) <= 15
    assert len({item.id for item in items}) == len(items)
    assert all(item.id and len(item.question.split()) >= 8 for item in items)
    assert items == list(BUILT_IN[name].items(SAMPLES / name))


@pytest.mark.parametrize("name", WITH_SAMPLE)
def test_a_folder_without_the_files_is_refused_by_name(name: str, tmp_path: Path) -> None:
    from caravan.errors import UserError

    (tmp_path / "README.md").write_text("nothing here")
    with pytest.raises(UserError, match=r"here|such") as caught:
        list(BUILT_IN[name].items(tmp_path))
    assert str(tmp_path) in caught.value.where
    assert caught.value.fix


def test_the_samples_lie_where_the_package_takes_its_data_from() -> None:
    files = [p for p in SAMPLES.rglob("*") if p.is_file()]
    assert files
    assert all(len(p.relative_to(SAMPLES).parts) in (2, 3) for p in files), "package data is samples/*/* and */*/*"
