"""What every benchmark plugin promises, checked on its embedded sample."""

from pathlib import Path

import pytest

from caravan.eval.benchmark import RULES, SAMPLES, Answer, Askable, Benchmark, Rules, Setting
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
ASKABLE: dict[str, Askable] = {
    "alpaca_eval": alpaca_eval,
    "bbh": bbh,
    "gsm8k": gsm8k,
    "humaneval": humaneval,
    "ifeval": ifeval,
    "mgsm": mgsm,
    "mmlu": mmlu,
    "toxigen": toxigen,
    "truthfulqa": truthfulqa,
    "tydiqa": tydiqa,
}
BUILT_IN: dict[str, Benchmark] = {**ASKABLE, "jsonl": jsonl}
EVERY_WAY = [
    (name, variant, rules) for name, module in ASKABLE.items() for variant in module.VARIANTS for rules in RULES
]
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


@pytest.mark.parametrize(("name", "variant", "rules"), EVERY_WAY)
def test_each_item_is_asked_once_and_a_failed_answer_is_never_right(name: str, variant: str, rules: Rules) -> None:
    module, setting = ASKABLE[name], Setting(variant, rules)
    problems = list(module.problems(SAMPLES / name, variant))
    known = {item.id for item in module.items(SAMPLES / name)}
    ids = [problem.item.id for problem in problems]
    assert ids
    assert len(set(ids)) == len(ids)
    assert set(ids) <= known
    for problem in problems:
        ask = module.ask(problem, setting)
        assert ask == module.ask(problem, setting)
        assert ask.text.strip()
        assert bool(ask.choices) != bool(ask.new_tokens)
        verdict = module.score(problem, [Answer(ended="failed", error="cut off")] * ask.samples, setting)
        assert verdict.status in (["failed"] if rules == "strict" else ["failed", "unextractable", "scored"])
        assert verdict.status == "failed" or not any(verdict.values.values())


@pytest.mark.parametrize("name", sorted(ASKABLE))
def test_the_form_of_a_benchmark_that_can_be_asked(name: str) -> None:
    module = ASKABLE[name]
    assert len(set(module.VARIANTS)) == len(module.VARIANTS) > 0
    assert len(set(module.METRICS)) == len(module.METRICS) > 0
    assert module.AVERAGE in ("micro", "macro")
