"""Recipes: one TOML file, every option a key of it, and a wrong key is named with the nearest right one."""

from pathlib import Path

import pytest

from caravan.curate.measure import active_filters
from caravan.curate.options import recipe_from
from caravan.curate.recipe import File, Recipe, load, shipped
from caravan.curate.sources import tasks, with_arguments
from caravan.errors import UserError

SHARES = {
    "tulu": ({"flan": 0.30, "sharegpt": 0.35, "oasst": 0.15, "cot": 0.15, "dolly": 0.05}, 80_000),
    "tulu-code": ({"flan": 0.30, "sharegpt": 0.35, "oasst": 0.15, "cot": 0.10, "code": 0.10}, 75_000),
}


@pytest.mark.parametrize("name", sorted(SHARES))
def test_the_published_mixtures_are_as_the_paper_states_them(name: str) -> None:
    shares, size = SHARES[name]
    recipe = load(name)
    assert {source: asked.share for source, asked in recipe.sources.items()} == shares
    assert recipe.size == size
    assert recipe.unit == "examples"


def test_every_shipped_recipe_loads_and_its_filters_exist() -> None:
    assert {"tulu", "tulu-code", "tulu1-human", "equal", "lima-1k"} <= set(shipped())
    for name in shipped():
        assert active_filters(load(name)), name
    assert load("lima-1k").size == 1000


def written(folder: Path, text: str) -> str:
    path = folder / "my.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sise = 3", "unknown key 'sise'; did you mean 'size'"),
        ("size = 0", "size: Input should be greater than 0"),
        ("[sources.flan]\npath = 'x'", "unknown key 'sources.flan.path'; did you mean 'paths'"),
        ("size = ", "is not TOML"),
        ("max_repeats = 'many'", "max_repeats: Input should be a valid integer"),
    ],
)
def test_a_wrong_key_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        load(written(tmp_path, text))
    assert message in str(error.value)
    assert "my.toml" in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[filters.qualty]\nminimum = 1", "no plugin 'qualty' among the filters; did you mean 'quality'"),
        ("[filters.quality]\nminimun = 1", "filter quality has no key 'minimun'; did you mean 'minimum'"),
        ("[filters.duplicates]\nnear = 'much'", "near: Input should be a valid number"),
        ("[sources.a.filters.duplicates]\nfloor = 0.9", "'floor' is a setting, the same for all sources"),
    ],
)
def test_a_wrong_filter_key_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        active_filters(load(written(tmp_path, text)))
    assert message in str(error.value)


def test_no_such_recipe_names_the_nearest() -> None:
    with pytest.raises(UserError, match="no recipe 'tuli'; did you mean 'tulu'"):
        load("tuli")


def test_paths_in_a_recipe_file_are_relative_to_it(tmp_path: Path) -> None:
    recipe = load(written(tmp_path, "[sources.a]\npaths = ['rows/*.json', 'hub:o/n', '/abs', {path = 'x'}]"))
    at = tmp_path.as_posix()
    assert recipe.sources["a"].paths == [f"{at}/rows/*.json", "hub:o/n", "/abs", File(path=f"{at}/x")]


def test_models_of_quality_parts_are_relative_to_it(tmp_path: Path) -> None:
    table = "[filters.quality.parts]\nclassifier = {model = 'own.bin', good = 'fine'}\nembedding = {model = ''}"
    at = tmp_path.as_posix()
    parts = load(written(tmp_path, table)).filters["quality"]["parts"]
    assert parts == {"classifier": {"model": f"{at}/own.bin", "good": "fine"}, "embedding": {"model": ""}}


def test_options_are_written_over_the_recipe() -> None:
    recipe = recipe_from(
        "tulu",
        strategy="temperature",
        size=10,
        unit="tokens",
        seed=3,
        benchmarks="here",
        keys=["strategy.options.temperature=3", "filters.quality.minimum=0.4", "filters.language.keep=['*']"],
    )
    assert (recipe.size, recipe.unit, recipe.seed, recipe.strategy.name) == (10, "tokens", 3, "temperature")
    assert recipe.strategy.options == {"temperature": 3}
    assert recipe.filters["contamination"]["benchmarks"] == "here"
    limits = {f.name: f.limits for f in active_filters(recipe)}
    assert limits["quality"].minimum == 0.4
    assert list(limits["language"].keep) == ["*"]


def test_weights_choose_the_tuned_strategy() -> None:
    recipe = recipe_from(None, weights="a=0.3, b=0.7")
    assert recipe.strategy.name == "tuned"
    assert {name: source.share for name, source in recipe.sources.items()} == {"a": 0.3, "b": 0.7}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "equil"}, "no strategy 'equil'; did you mean 'equal'"),
        ({"weights": "a"}, "'a' is not NAME=VALUE"),
        ({"weights": "a=much"}, "'much' is not a number"),
        ({"weights": "a=-1"}, "sources.a.share"),
        ({"keys": ["filters"]}, "'filters' is not KEY=VALUE"),
        ({"keys": ["seed.x=1"]}, "'seed' holds a value"),
    ],
)
def test_a_wrong_option_is_one_clear_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as error:
        recipe_from(None, **options)  # type: ignore[arg-type]
    assert message in str(error.value)


def test_named_arguments_replace_a_recipes_paths_and_may_come_again() -> None:
    recipe = Recipe.model_validate({"sources": {"cot": {"paths": ["old"], "share": 0.5}}})
    got = with_arguments(recipe, ["cot:flan=new/*.tsv", "cot:alpaca_cot=x=y.json", "mine=z"])
    assert got.sources["cot"].paths == [
        File(path="new/*.tsv", converter="flan"),
        File(path="x=y.json", converter="alpaca_cot"),
    ]
    assert got.sources["cot"].share == 0.5
    assert got.sources["mine"].paths == [File(path="z")]


def test_an_unknown_converter_in_an_argument_is_named() -> None:
    with pytest.raises(UserError, match="no converter 'flam'; did you mean 'flan'"):
        with_arguments(Recipe(), ["cot:flam=x"])


def test_hub_alone_means_the_data_set_that_the_converter_knows() -> None:
    recipe = with_arguments(Recipe(), ["columns=hub"])
    with pytest.raises(UserError, match="converter columns knows no data set on the hub; write hub:OWNER/NAME"):
        tasks(recipe)
    with pytest.raises(UserError, match="no converter 'mine'"):
        tasks(with_arguments(Recipe(), ["mine=hub"]))
