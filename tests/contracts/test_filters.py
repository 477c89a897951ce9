"""What every filter plugin and every quality part promises, checked on the embedded samples and on odd rows."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caravan.curate import sources
from caravan.curate.decide import decide, link
from caravan.curate.filter import Filter, Limits, LinkingFilter, Settings
from caravan.curate.filters import contamination, duplicates, language, length, quality
from caravan.curate.gather import gather
from caravan.curate.measure import ActiveFilter, active_filters
from caravan.curate.options import recipe_from
from caravan.curate.quality_part import ModelPart, Part, needs_naming
from caravan.plugins import find, load

# The annotation is the check: mypy compares each module with the contract.
BUILT_IN: dict[str, Filter[Any, Any]] = {
    "contamination": contamination,
    "duplicates": duplicates,
    "language": language,
    "length": length,
    "quality": quality,
}
SCHEMA: dict[str, pl.DataType] = {
    "messages": pl.List(pl.Struct({"role": pl.String(), "content": pl.String()})),
    "id": pl.String(),
    "source": pl.String(),
    "tags": pl.String(),
    "provenance": pl.Struct({"file": pl.String(), "row": pl.Int64(), "own_id": pl.String()}),
    "licence": pl.String(),
}
ODD = ["", " ", "\n", "a", "42", "Да", "你好", "สวัสดี", "```", "Hi! " * 400, "\ufffd", "<b>", "x" * 9_000, "👍🏽", "İß"]


def frame(rows: list[list[tuple[str, str]]]) -> pl.DataFrame:
    """Rows as `Example` columns."""
    return pl.DataFrame(
        [
            {
                "messages": [{"role": role, "content": content} for role, content in row],
                "id": f"{n:032x}",
                "source": "odd",
                "tags": "{}",
                "provenance": {"file": "odd.jsonl", "row": n, "own_id": None},
                "licence": "",
            }
            for n, row in enumerate(rows)
        ],
        schema=SCHEMA,
    )


@pytest.fixture(scope="module")
def samples(session_cache: None) -> pl.DataFrame:
    """All embedded samples as examples, without measures."""
    recipe, inputs = sources.with_samples(recipe_from(None))
    rows = gather(sources.tasks(recipe, inputs)[0], []).rows
    assert rows.height > 60
    return rows


def active(name: str, **limits: Any) -> ActiveFilter:
    module = load("filters", name)
    return ActiveFilter(name, module, module.Settings(), module.Limits(**limits))


def test_each_filter_is_checked_here() -> None:
    assert {n for n, plugin in find("filters").items() if plugin.distribution == "caravan"} == set(BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
def test_keys_columns_and_reasons(name: str) -> None:
    module = load("filters", name)
    assert module.__doc__
    assert module.VERSION >= 1
    assert issubclass(module.Settings, Settings)
    assert issubclass(module.Limits, Limits)
    assert not set(module.Settings.model_fields) & set(module.Limits.model_fields), "one table of a recipe holds both"
    assert set(module.TRY) <= set(module.Limits.model_fields)
    assert all(reason.islower() and reason.isidentifier() for reason in module.REASONS)
    assert len({column for other in BUILT_IN for column in load("filters", other).COLUMNS}) == sum(
        len(load("filters", other).COLUMNS) for other in BUILT_IN
    ), "two filters add a column of one name"


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_measure_is_of_its_row_alone(name: str, samples: pl.DataFrame) -> None:
    """Not of the batch, nor of the order: any division of the rows gives the same values."""
    module = load("filters", name)
    whole = module.measure(samples, module.Settings())
    assert dict(whole.schema) == dict(module.COLUMNS)
    mixed = pl.Series(range(samples.height)).sample(fraction=1, shuffle=True, seed=3).to_list()
    for size in (1, 7, samples.height):
        parts = [samples[mixed[start : start + size]] for start in range(0, samples.height, size)][:40]
        measured = pl.concat([module.measure(part, module.Settings()) for part in parts])
        assert measured.equals(whole[mixed[: measured.height]])


@pytest.mark.parametrize("name", BUILT_IN)
@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_rows_are_measured(name: str, data: st.DataObject) -> None:
    turn = st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), st.sampled_from(ODD))
    rows = frame(data.draw(st.lists(st.lists(turn, max_size=4), max_size=6)))
    module = load("filters", name)
    measured = module.measure(rows, module.Settings())
    assert dict(measured.schema) == dict(module.COLUMNS)
    assert measured.height == rows.height
    backwards = module.measure(rows.reverse(), module.Settings())
    assert backwards.reverse().equals(measured)
    reasons = rows.hstack(measured).select(reason=module.verdict(module.Limits()))["reason"]
    assert set(reasons.drop_nulls()) <= set(module.REASONS)


def test_a_verdict_never_changes_a_measure(samples: pl.DataFrame) -> None:
    filters = active_filters(recipe_from(None))
    measured = samples.hstack([c for f in filters for c in f.module.measure(samples, f.settings).get_columns()])
    before = measured.clone()
    verdicts = decide(measured, filters, link(measured, filters), ["quality", "length"])
    assert measured.equals(before)
    assert verdicts.height == samples.height
    assert set(verdicts["reasons"].explode().drop_nulls()) <= {r for f in filters for r in f.module.REASONS}


LOOSER: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("contamination", {"coverage": 0.3}, {"coverage": 0.5}),
    ("contamination", {"coverage": 0.5}, {"coverage": 1.0}),
    ("language", {"keep": ()}, {"keep": ("en",)}),
    ("language", {"keep": ("en",)}, {"keep": ("en", "de")}),
    ("language", {"keep": ("en", "de")}, {"keep": ("*",)}),
    ("quality", {"minimum": 0.9}, {"minimum": 0.4}),
    ("quality", {"minimum": 0.4}, {"minimum": 0.0}),
]


@pytest.mark.parametrize(("name", "strict", "loose"), LOOSER)
def test_loosening_a_limit_never_drops_a_row(
    name: str, strict: dict[str, Any], loose: dict[str, Any], samples: pl.DataFrame
) -> None:
    module = load("filters", name)
    assert not isinstance(module, LinkingFilter)
    measured = samples.hstack(module.measure(samples, module.Settings()))
    before, after = (decide(measured, [active(name, **limits)], [], [])["reason"] for limits in (strict, loose))
    assert before.filter(after.is_not_null()).is_not_null().all()


@pytest.mark.parametrize("name", sorted(find("quality_parts")))
def test_quality_parts(name: str) -> None:
    part = load("quality_parts", name)
    assert part.__doc__
    assert part.VERSION >= 1
    assert part.KIND in ("gate", "scale")
    assert (part.KIND == "scale") == hasattr(part, "WEIGHT")
    kept: Part | ModelPart[Any] = part
    assert needs_naming(kept) == (not hasattr(part, "score"))
    assert f"quality_{name}" in quality.COLUMNS


def test_the_folder_of_parts_holds_parts_alone() -> None:
    folder = Path(quality.__file__).parents[1] / "quality_parts"
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == set(find("quality_parts"))
