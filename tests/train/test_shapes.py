"""Built-in shapes have the numbers of parameters that their papers state, under the names that people type."""

import json
from pathlib import Path

import pytest

from caravan.errors import UserError
from caravan.train import shapes
from caravan.train.model import skeleton

PARAMETERS = {
    "llama-7b": 6_738_415_616,
    "llama-13b": 13_015_864_320,
    "llama-30b": 32_528_943_616,
    "llama-65b": 65_285_660_672,
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-3-8b": 8_030_261_248,
    "llama-3-70b": 70_553_706_496,
    "pythia-70m": 70_426_624,
    "pythia-160m": 162_322_944,
    "pythia-410m": 405_334_016,
    "pythia-1b": 1_011_781_632,
    "pythia-1.4b": 1_414_647_808,
    "pythia-2.8b": 2_775_208_960,
    "pythia-6.9b": 6_857_302_016,
    "pythia-12b": 11_846_072_320,
    "gpt-neox-20b": 20_554_567_680,
    "opt-125m": 125_239_296,
    "opt-350m": 331_196_416,
    "opt-1.3b": 1_315_758_080,
    "opt-2.7b": 2_651_596_800,
    "opt-6.7b": 6_658_473_984,
    "opt-13b": 12_853_473_280,
    "opt-30b": 29_974_540_288,
    "opt-66b": 65_719_701_504,
}


def test_every_shape_is_listed() -> None:
    assert set(PARAMETERS) == set(shapes.NAMES)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_shape_has_the_parameters_of_the_released_model(name: str) -> None:
    assert sum(p.numel() for p in skeleton(shapes.shape(name)).parameters()) == PARAMETERS[name]


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("llama-7b", "llama-7b"),
        ("huggyllama/llama-7b", "llama-7b"),
        ("huggyllama/llama-7b@main", "llama-7b"),
        ("LLaMA-33B", "llama-30b"),
        ("decapoda-research/llama_13b_hf", "llama-13b"),
        ("meta-llama/Llama-2-7b-chat-hf", "llama-2-7b"),
        ("llama2-70b", "llama-2-70b"),
        ("meta-llama/Meta-Llama-3-8B", "llama-3-8b"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3-8b"),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama-3-70b"),
        ("llama3-8b", "llama-3-8b"),
        ("EleutherAI/pythia-1.4b", "pythia-1.4b"),
        ("EleutherAI/pythia-6.9b-deduped", "pythia-6.9b"),
        ("EleutherAI/gpt-neox-20b", "gpt-neox-20b"),
        ("facebook/opt-1.3b", "opt-1.3b"),
        ("meta-llama/Llama-3.2-1B", None),  # another shape
        ("somebody/llama-7b-long", None),
        ("llama-8b", None),
        ("", None),
    ],
)
def test_names_that_people_type(typed: str, name: str | None) -> None:
    assert shapes.builtin(typed) == name


def test_a_folder_and_a_file_come_before_a_built_in_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("llama-7b")
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "num_hidden_layers": 3}))

    assert shapes.shape("llama-7b").num_hidden_layers == 3
    assert shapes.shape("llama-7b/config.json").num_hidden_layers == 3


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'llama-7b'"):
        shapes.shape("lama-7b")
    with pytest.raises(UserError, match=r"known: .*pythia-70m"):
        shapes.shape("qqq")


def test_a_name_on_the_hub_that_cannot_be_had_is_answered_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(UserError, match=r"EleutherAI/pythia-1.5b: no such model.*did you mean 'pythia-1"):
        shapes.shape("EleutherAI/pythia-1.5b")


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"model_type": "nobody-knows-it"}, "no usable config.json"),
        ({"hidden_size": 8}, "no usable config.json"),
        ({"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}, "no usable config.json"),
    ],
)
def test_a_configuration_that_is_none_is_refused(tmp_path: Path, config: dict[str, object], problem: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text("raise SystemExit('code of a model was run')\n")

    with pytest.raises(UserError, match=problem):
        shapes.shape(str(tmp_path))


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        shapes.shape(str(tmp_path))
