"""Deciding: which rows stay, with every reason and the partner named."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from caravan.curate.convert import FileConverted, Task
from caravan.curate.decide import decide, keep_order, writers
from caravan.curate.input import Input
from caravan.curate.links import Links
from caravan.curate.measure import ActiveFilter
from caravan.curate.recipe import Source
from caravan.curate.words import shingles


class Low:
    """A row filter over the column `quality`."""

    REASONS = ("low",)

    @staticmethod
    def verdict(limits: "LowLimits") -> pl.Expr:
        return pl.when(pl.col("quality") < limits.minimum).then(pl.lit("low"))


class LowLimits(BaseModel):
    minimum: float = 0.5


class Same:
    """A linking filter whose every key counts as one from 0.8 on."""

    REASONS = ("same",)

    @staticmethod
    def verdict(limits: object) -> pl.Expr:
        return pl.lit(None, pl.String)

    @staticmethod
    def link(rows: pl.DataFrame, settings: object) -> list[Links]:
        texts = rows["messages"].list.first().struct.field("content").to_list()
        found = shingles(texts)
        members = np.arange(len(texts), dtype=np.int64)
        return [Links("conversation", "same", members, np.zeros(len(texts), np.uint64), found)]

    @staticmethod
    def limit(links: Links, limits: object) -> float | None:
        return 0.8


def active(module: object, limits: object = None, overrides: dict[str, object] | None = None) -> ActiveFilter:
    return ActiveFilter(type(module).__name__, module, None, limits, overrides or {})  # type: ignore[arg-type]


def rows(texts: list[str], quality: list[float], source: str = "s") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "messages": [[{"role": "user", "content": t}] for t in texts],
            "id": [f"id{n}" for n in range(len(texts))],
            "source": [source] * len(texts),
            "quality": quality,
        },
        schema={
            "messages": pl.List(pl.Struct({"role": pl.String, "content": pl.String})),
            "id": pl.String,
            "source": pl.String,
            "quality": pl.Float64,
        },
    )


def run(frame: pl.DataFrame, filters: list[ActiveFilter]) -> pl.DataFrame:
    links = [(f, one) for f in filters if hasattr(f.module, "link") for one in f.module.link(frame, None)]
    return decide(frame, filters, links, ["quality", "length"])


def test_a_look_alike_goes_and_names_the_better_row() -> None:
    verdicts = run(rows(["one two three", "one two three"], [0.6, 0.9]), [active(Same())])
    assert verdicts["reason"].to_list() == ["same", None]
    assert verdicts["duplicate_of"].to_list() == ["id1", None]
    assert verdicts["similarity"].to_list() == [1.0, None]


def test_a_text_is_not_lost_because_its_better_copy_is_bad_in_another_way() -> None:
    # The longer row would be kept of the two, but its quality drops it: the other must stay.
    frame = rows(["one two three", "one two three", "one two three"], [0.2, 0.6, 0.1])
    verdicts = run(frame, [active(Low(), LowLimits()), active(Same())])
    assert verdicts["reason"].to_list() == ["low", None, "low"]
    assert verdicts["duplicate_of"].to_list() == [None, None, None]


def test_limits_by_source_take_the_place_of_the_general_ones() -> None:
    frame = pl.concat([rows(["a b"], [0.3], "lenient"), rows(["c d"], [0.3], "strict")])
    verdicts = run(frame, [active(Low(), LowLimits(), {"lenient": LowLimits(minimum=0.1)})])
    assert verdicts["reason"].to_list() == [None, "low"]


def test_all_reasons_are_recorded_and_the_first_filter_names_the_reason() -> None:
    class Short:
        REASONS = ("short",)

        @staticmethod
        def verdict(limits: object) -> pl.Expr:
            return pl.when(pl.col("messages").list.len() < 2).then(pl.lit("short"))

    frame = rows(["a b"], [0.1])
    low, short = active(Low(), LowLimits()), active(Short())
    assert run(frame, [low, short]).row(0, named=True)["reasons"] == ["low", "short"]
    assert run(frame, [short, low])["reason"].to_list() == ["short"]


def test_no_filter_at_all_keeps_everything() -> None:
    assert run(rows(["a", "a"], [0.1, 0.2]), [])["reason"].to_list() == [None, None]


def test_keep_order_is_priority_then_quality_then_length_then_id() -> None:
    frame = pl.concat([rows(["aa", "aaaa", "aa"], [0.5, 0.5, 0.9], "x"), rows(["a"], [0.1], "first")])
    frame = frame.with_columns(pl.Series("id", ["c", "b", "a", "d"]))
    order = keep_order(frame, ["priority", "quality", "length"], ["first"])
    assert frame["id"].gather(order).to_list() == ["d", "a", "b", "c"]


def test_rows_of_people_come_before_unknown_ones_and_these_before_a_models() -> None:
    frame = pl.concat([rows(["a", "b", "c"], [0.1, 0.9, 0.5], name) for name in ("chats", "dolly", "notes")])
    tags = ["{}", '{"synthetic":false}', '{"a":1}', "{}", '{"synthetic":true}', "{}", "{}"]
    tags += ['{"x":{"synthetic":true}}', '{"synthetic":"yes"}']
    frame = frame.with_columns(pl.Series("id", list("abcdefghi")), pl.Series("tags", tags))
    order = keep_order(frame, ["human", "quality"], (), {"chats": "model", "dolly": "people"})
    # People: b by its own tag, d and f by their source; unknown: notes; a model: a and c by their source, e by its tag.
    assert "".join(frame["id"].gather(order)) == "bfdhigeca"
    assert "".join(frame["id"].gather(keep_order(frame, ["human", "quality"]))) == "bhcfiadge"
    order = keep_order(frame, ["priority", "human", "quality"], ["notes"], {"chats": "model", "dolly": "people"})
    assert "".join(frame["id"].gather(order)) == "higbfdeca"


def test_priority_without_names_changes_nothing() -> None:
    frame = rows(["a", "bbb", "cc"], [0.5, 0.5, 0.5])
    assert keep_order(frame, ["priority", "length"]).tolist() == [1, 2, 0]


def made(source: str, converter: str) -> FileConverted:
    task = Task(source, Input(Path("x"), "x"), converter, "{}")
    return FileConverted(task, "", 0, 1, {}, "", 0, 0, 0, 0, 0, {}, {})


def test_who_wrote_a_source_is_what_the_recipe_says_or_all_of_its_converters() -> None:
    files = [made("d", "dolly"), made("s", "sharegpt"), made("m", "messages"), made("x", "dolly"), made("x", "alpaca")]
    files += [made("cot", "flan"), made("cot", "alpaca_cot"), made("mine", "alpaca"), made("gpt", "messages")]
    sources = {"mine": Source(answers_by="people"), "gpt": Source(answers_by="model"), "d": Source()}
    assert writers(files, sources) == {"cot": "people", "d": "people", "gpt": "model", "mine": "people", "s": "model"}
    assert writers([], {}) == {}


@given(st.lists(st.sampled_from(["a b c", "d e f", "g h i", "a b x"]), min_size=1, max_size=12), st.randoms())
def test_the_order_of_the_rows_does_not_matter(texts: list[str], random: object) -> None:
    frame = rows(texts, [len(t) % 3 / 3 for t in texts])
    one = dict(zip(frame["id"], run(frame, [active(Same())])["duplicate_of"], strict=True))
    mixed = frame.sample(fraction=1, shuffle=True, seed=7)
    other = dict(zip(mixed["id"], run(mixed, [active(Same())])["duplicate_of"], strict=True))
    assert one == other


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_loosening_a_row_limit_never_drops_a_row(quality: list[float], a: float, b: float) -> None:
    frame = rows([str(n) for n in range(len(quality))], quality)
    loose, strict = (run(frame, [active(Low(), LowLimits(minimum=m))])["reason"] for m in sorted((a, b)))
    assert all(s is not None for lo, s in zip(loose, strict, strict=True) if lo is not None)


def test_partner_is_kept_itself() -> None:
    frame = rows(["a b c", "a b c", "a b c", "x y z"], [0.4, 0.9, 0.5, 0.1])
    verdicts = run(frame, [active(Same())])
    kept = set(frame["id"].filter(verdicts["reason"].is_null()))
    assert kept == {"id1", "id3"}
    assert set(verdicts["duplicate_of"].drop_nulls()) <= kept


@pytest.mark.parametrize("height", [0, 1])
def test_tiny_frames(height: int) -> None:
    assert run(rows(["a"] * height, [0.5] * height), [active(Low(), LowLimits()), active(Same())]).height == height


class SameFrom:
    similarity: float | None

    def __init__(self, similarity: float | None) -> None:
        self.similarity = similarity


class SameBySource(Same):
    """As Same, with the similarity that the limits name; None: off."""

    @staticmethod
    def limit(links: Links, limits: object) -> float | None:
        assert isinstance(limits, SameFrom)
        return limits.similarity


def test_a_source_may_turn_look_alikes_off_or_ask_for_more_similarity() -> None:
    near = "a b c d e f g h i j k l m n o p q r s t u v w x y", "a b c d e f g h i j k l m n o p q r s t u v w x z"
    frame = pl.concat([rows(list(near), [0.5, 0.4], "strict"), rows(list(near), [0.3, 0.2], "off")])
    frame = frame.with_columns(pl.Series("id", ["a", "b", "c", "d"]))
    limits, off = SameFrom(0.8), SameFrom(None)
    assert run(frame, [active(SameBySource(), limits)])["reason"].to_list() == [None, "same", "same", "same"]
    verdicts = run(frame, [active(SameBySource(), limits, {"off": off})])
    assert verdicts["duplicate_of"].to_list() == [None, "a", None, None]
    verdicts = run(frame, [active(SameBySource(), limits, {"off": SameFrom(1.0)})])
    # The first row of `off` is the first of `strict` word for word; its second is only near, and so it stays.
    assert verdicts["duplicate_of"].to_list() == [None, "a", "a", None]
