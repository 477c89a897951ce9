"""The main job as a whole, from raw files to a mixture's folder."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from caravan.converters.schema import content_hash
from caravan.curate.build import MixResult, build_mix
from caravan.curate.diff import diff
from caravan.curate.engine import StartMethod
from caravan.curate.explain import explain
from caravan.curate.ledger import check_books
from caravan.curate.options import recipe_from
from caravan.curate.recipe import Recipe
from caravan.curate.single import gather_data
from caravan.errors import UserError
from caravan.mixtures import manifest
from rawrows import alpaca_rows, message_rows, sentence

AlpacaFile = Callable[[str, list[dict[str, str]]], Path]


def recipe(raw: Path, **changes: object) -> Recipe:
    table: dict[str, object] = {
        "sources": {
            "alpaca": {"paths": [str(raw / "alpaca_a.json"), str(raw / "alpaca_b.json")], "share": 0.6},
            "chats": {"paths": [str(raw / "chats.jsonl")], "converter": "messages", "share": 0.4},
        }
    }
    return Recipe.model_validate(table | changes)


def test_every_file_of_a_mixture_is_there_and_reads(raw: Path, tmp_path: Path) -> None:
    result = build_mix(recipe(raw), out=tmp_path / "mix")
    names = {path.name for path in (tmp_path / "mix").iterdir()}
    assert names == {
        "mix.parquet",
        "manifest.json",
        "card.md",
        "README.md",
        "report.html",
        "ledger.parquet",
        "dropped.parquet",
        "contamination.parquet",
        "quarantine.jsonl",
        "handover.md",
        "dataset_info.json",
        "axolotl.yaml",
    }
    schema = pq.read_schema(tmp_path / "mix" / "mix.parquet")
    assert schema.names[:3] == ["messages", "id", "source"]
    assert {"language", "quality", "tokens", "supervised_tokens", "repeat"} <= set(schema.names)
    loaded = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "mix" / "mix.parquet"), split="train", cache_dir=str(tmp_path / "hf")
    )
    assert loaded.num_rows == result.manifest.given.examples == 100
    assert loaded[0]["messages"][0]["role"] == "user"
    assert result.to_datasets()[0]["id"] == loaded[0]["id"]
    assert manifest.read(tmp_path / "mix") == result.manifest


def test_both_accounts_of_rows_balance_and_every_row_is_in_the_ledger(alpaca_file: AlpacaFile) -> None:
    rows = alpaca_rows(20)
    rows += rows[:3]  # word for word again
    rows += [{**rows[5], "output": rows[5]["output"].replace("scene", "picture", 1)}]  # one word another
    rows += [{"instruction": "Say nothing at all.", "input": "", "output": ""}]
    path = alpaca_file("alpaca.json", rows)
    with path.open("a", encoding="utf-8") as file:
        file.write(" , broken")
    result = build_mix(Recipe.model_validate({"sources": {"alpaca": {"paths": [str(path)]}}}), out=None)
    (source,) = result.manifest.sources
    (file_read,) = source.files
    assert file_read.rows == file_read.cited + file_read.rejected + file_read.quarantined
    assert (file_read.cited, file_read.rejected) == (24, 1)
    assert source.dropped == {"exact_duplicate": 3, "near_duplicate": 1}
    assert source.examples == 24 == source.drawn + source.not_drawn + sum(source.dropped.values())
    in_ledger = result.ledger.filter(pl.col("fate") != "quarantined")["row"].sort().to_list()
    assert in_ledger == list(range(1, 26))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("reference")
    (folder / "alpaca_a.json").write_text(json.dumps(alpaca_rows(40)), encoding="utf-8")
    (folder / "alpaca_b.json").write_text(json.dumps(alpaca_rows(20, first=40)), encoding="utf-8")
    lines = "".join(json.dumps(row) + "\n" for row in message_rows(40))
    (folder / "chats.jsonl").write_text(lines, encoding="utf-8")
    return folder, build_mix(recipe(folder, size=50), out=None).manifest.content_hash


@pytest.mark.parametrize(
    ("workers", "method"), [(2, "spawn"), (2, "forkserver"), (3, "forkserver")], ids=["spawn", "forkserver", "three"]
)
def test_workers_and_start_method_change_nothing(
    reference: tuple[Path, str], workers: int, method: StartMethod
) -> None:
    folder, wanted = reference
    again = build_mix(recipe(folder, size=50), out=None, workers=workers, start_method=method)
    assert again.manifest.content_hash == wanted


def test_the_order_of_the_files_changes_nothing(reference: tuple[Path, str]) -> None:
    folder, wanted = reference
    turned = recipe(folder, size=50).model_dump(mode="json")
    turned["sources"] = dict(reversed(turned["sources"].items()))
    turned["sources"]["alpaca"]["paths"].reverse()
    assert build_mix(Recipe.model_validate(turned), out=None).manifest.content_hash == wanted


def test_the_same_inputs_give_the_same_bytes(raw: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        build_mix(recipe(raw, size=50), out=tmp_path / name, workers=1 if name == "a" else 2)
    for path in sorted((tmp_path / "a").rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes(), path.name


def rows_of(result: MixResult) -> set[tuple[str, int]]:
    return set(result.mix.select("id", "repeat").iter_rows())


@pytest.mark.parametrize("strategy", ["equal", "proportional", "inverse", "temperature", "quality_weighted", "tuned"])
def test_a_larger_mixture_contains_the_smaller_one(reference: tuple[Path, str], strategy: str) -> None:
    folder, _ = reference
    small, large = (build_mix(recipe(folder, size=n, strategy=strategy), out=None) for n in (40, 80))
    assert small.mix.height == 40
    assert large.mix.height == 80
    assert rows_of(small) < rows_of(large)


def test_changing_one_source_does_not_move_anothers_rows(raw: Path) -> None:
    before = build_mix(recipe(raw, size=50, strategy="tuned"), out=None)
    (raw / "chats.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in message_rows(45, first=500)), encoding="utf-8"
    )
    after = build_mix(recipe(raw, size=50, strategy="tuned"), out=None)
    kept = [set(r.mix.filter(pl.col("source") == "alpaca")["id"]) for r in (before, after)]
    assert kept[0] == kept[1]
    assert len(kept[0]) == 30


def test_a_cap_hands_the_rest_on_and_says_so(raw: Path) -> None:
    shares = {"alpaca": 0.1, "chats": 0.9}
    table = recipe(raw, size=200, strategy="tuned").model_dump(mode="json")
    for name, share in shares.items():
        table["sources"][name]["share"] = share
    result = build_mix(Recipe.model_validate(table), out=None)
    given = {s.name: s.given.examples for s in result.manifest.sources}
    assert given == {"alpaca": 40, "chats": 160}  # 180 asked of chats, 4 times its 40 given
    assert max(s.max_copies for s in result.manifest.sources) == 4
    assert any("chats" in note and "180" in note and "160" in note for note in result.manifest.notes)


def test_a_request_that_cannot_be_met_is_refused_with_the_numbers(raw: Path) -> None:
    with pytest.raises(UserError, match=r"1,000 requested, but 400 is the most"):
        build_mix(recipe(raw, size=1000), out=None)


def test_a_size_in_tokens_is_met_as_nearly_as_rows_allow(raw: Path) -> None:
    result = build_mix(recipe(raw, size=4000, unit="supervised_tokens"), out=None)
    longest = result.mix["supervised_tokens"].max()
    assert isinstance(longest, int)
    assert abs(result.manifest.given.supervised_tokens - 4000) <= 2 * longest


def test_a_validation_split_shares_no_row_and_no_look_alike_with_training(alpaca_file: AlpacaFile) -> None:
    rows = alpaca_rows(120)
    twins = [{**row, "output": row["output"].replace("scene", "picture", 1)} for row in rows]
    table = {
        "sources": {"alpaca": {"paths": [str(alpaca_file("alpaca.json", rows + twins))]}},
        "validation": {"share": 0.2},
        "filters": {"duplicates": {"near": 1.0}},  # the twins stay: they must not be torn apart
    }
    result = build_mix(Recipe.model_validate(table), out=None)
    fates = result.ledger.group_by("fate").agg("row").sort("fate")
    by_fate = {fate: set(numbers) for fate, numbers in fates.iter_rows()}
    held = by_fate["validation"]
    assert 20 <= len(held) <= 80
    assert {n if n <= 120 else n - 120 for n in held}.isdisjoint({n if n <= 120 else n - 120 for n in by_fate["drawn"]})


def test_no_training_row_resembles_a_validation_row_not_even_through_a_third(alpaca_file: AlpacaFile) -> None:
    rows = []
    for n in range(80):  # chains: each text shares most of its words with the next, the ends share few
        words = sentence(50_000 + n, 120).split()
        parts = [" ".join(words[k : k + 90]) for k in (0, 10, 20, 30)]
        rows += [{"instruction": f"Part {n}:", "input": "", "output": part} for part in parts]
    table = {
        "sources": {"alpaca": {"paths": [str(alpaca_file("alpaca.json", rows))]}},
        "validation": {"share": 0.3},
        "filters": {"duplicates": {"near": 1.0}},
        "use": ["length", "duplicates"],
    }
    ledger = build_mix(Recipe.model_validate(table), out=None).ledger
    held, drawn = (
        [rows[n - 1]["output"].split() for n in ledger.filter(pl.col("fate") == fate)["row"]]
        for fate in ("validation", "drawn")
    )
    assert len(held) > 40
    assert len(drawn) > 40

    def shingles(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}

    ours, theirs = [shingles(w) for w in held], [shingles(w) for w in drawn]
    assert max(len(a & b) / len(a | b) for a in ours for b in theirs) < 0.7


def test_frames_and_data_sets_are_sources_too(tmp_path: Path) -> None:
    frame = pl.DataFrame(alpaca_rows(30))
    made = datasets.Dataset.from_list(message_rows(30))
    result = build_mix(Recipe(), frames={"alpaca": frame, "chats": made}, out=tmp_path / "mix")
    assert {s.name: s.examples for s in result.manifest.sources} == {"alpaca": 30, "chats": 30}
    assert not result.manifest.embedded_samples
    assert "frame:alpaca" in {f.file for s in result.manifest.sources for f in s.files}


def test_without_sources_the_embedded_samples_are_used_and_said(tmp_path: Path) -> None:
    result = build_mix(recipe_from(None, strategy="quality_weighted"), out=tmp_path / "mix")
    assert result.manifest.embedded_samples
    names = {s.name for s in result.manifest.sources}
    assert {"alpaca", "dolly", "flan", "oasst", "self_instruct", "sharegpt", "unnatural"} <= names
    reasons = {reason for s in result.manifest.sources for reason in s.dropped}
    assert {"exact_duplicate", "near_duplicate", "language", "contaminated"} <= reasons
    assert str(os.sep + "site-packages") not in (tmp_path / "mix" / "manifest.json").read_text(encoding="utf-8")


def test_shipped_recipes_work_on_the_embedded_samples() -> None:
    for name in ("tulu", "tulu-code", "tulu1-human", "equal", "lima-1k"):
        small = recipe_from(name).model_copy(update={"size": None})
        assert build_mix(small, out=None).manifest.given.examples > 20, name


def test_explain_finds_every_row_by_every_name(raw: Path, tmp_path: Path, alpaca_file: AlpacaFile) -> None:
    rows = alpaca_rows(10)
    path = alpaca_file("alpaca.json", [*rows, rows[0], {"instruction": "Do.", "input": "", "output": ""}])
    table = {"sources": {"alpaca": {"paths": [str(path)]}}}
    result = build_mix(Recipe.model_validate(table), out=tmp_path / "mix")
    (first,), _ = explain(f"{path}:3", tmp_path / "mix")
    assert first.row["fate"] == "drawn"
    assert first.messages is not None
    assert first.messages[0]["content"] == rows[2]["instruction"]
    assert explain(first.row["id"], tmp_path / "mix")[0] == [first]
    pair = [explain(f"{path}:{n}", tmp_path / "mix")[0][0] for n in (1, 11)]
    (gone,) = [one for one in pair if one.row["fate"] == "dropped"]
    (stays,) = [one for one in pair if one.row["fate"] == "drawn"]
    assert gone.row["duplicate_of"] == stays.row["id"]
    assert gone.evidence["exact_duplicate"]["similarity"] == 1.0
    assert stays.repeated_by == [gone.row["id"]]
    (refused,), _ = explain(f"{path}:12", tmp_path / "mix")
    assert refused.row["fate"] == "rejected"
    assert json.loads(refused.raw or "")["instruction"] == "Do."
    assert all(explain(name, tmp_path / "mix")[1] == 1 for name in result.mix["id"])
    with pytest.raises(UserError, match=r"no row 'alpaca.json:99'"):
        explain("alpaca.json:99", tmp_path / "mix")


def test_diff_says_which_rows_moved_and_why(raw: Path, tmp_path: Path) -> None:
    build_mix(recipe(raw), out=tmp_path / "a")
    table = recipe(raw).model_dump(mode="json")
    table["sources"]["alpaca"]["filters"] = {"language": {"keep": ["fr"]}}
    build_mix(Recipe.model_validate(table), out=tmp_path / "b")
    result = diff(tmp_path / "a", tmp_path / "b")
    assert not result.same_content
    assert any("language" in line and "fr" in line for line in result.settings)
    moved = result.moved.filter(pl.col("b") == "dropped: language")
    assert moved.height > 50
    assert set(moved["a"]) == {"drawn"}
    assert diff(tmp_path / "a", tmp_path / "a").moved.is_empty()


def test_the_content_hash_can_be_computed_from_the_file_alone(raw: Path, tmp_path: Path) -> None:
    from hashlib import sha256

    result = build_mix(recipe(raw, size=70), out=tmp_path / "mix")
    digest = sha256()
    for row in pq.read_table(tmp_path / "mix" / "mix.parquet").to_pylist():
        digest.update(f"{content_hash(row['source'], row['messages'])} {row['repeat']}\n".encode())
    assert digest.hexdigest() == result.manifest.content_hash


def test_ids_of_identical_rows_are_numbered_and_distinct(alpaca_file: AlpacaFile) -> None:
    rows = alpaca_rows(3)
    path = alpaca_file("alpaca.json", rows + rows + rows)
    table = {"sources": {"alpaca": {"paths": [str(path)]}}, "use": []}
    result = build_mix(Recipe.model_validate(table), out=None)
    assert result.ledger["id"].n_unique() == 9
    stems = result.ledger["id"].str.split("-").list.first()
    assert stems.value_counts()["count"].to_list() == [3, 3, 3]


def test_per_message_weights_reach_the_mixture(tmp_path: Path) -> None:
    row = message_rows(1)[0]
    row["messages"] = [{**m, "weight": 0 if m["role"] == "user" else 1} for m in row["messages"]]  # type: ignore[attr-defined]
    result = build_mix(Recipe(use=["length"]), frames={"messages": pl.DataFrame([row])}, out=None)
    assert json.loads(result.mix["tags"][0])["weights"] == [0, 1]


def test_better_rows_first_when_the_strategy_says_so(alpaca_file: AlpacaFile) -> None:
    rows = alpaca_rows(30)
    rows += [
        {**row, "output": "As an AI language model, I cannot " + row["output"][:30]}
        for row in alpaca_rows(30, first=100)
    ]
    table = {
        "sources": {"alpaca": {"paths": [str(alpaca_file("alpaca.json", rows))]}},
        "strategy": "quality_weighted",
        "size": 20,
    }
    result = build_mix(Recipe.model_validate(table), out=None)
    left_out = result.ledger.filter(pl.col("fate") == "not_drawn")["quality"].max()
    worst = result.mix["quality"].min()
    assert isinstance(left_out, float)
    assert isinstance(worst, float)
    assert worst >= left_out - 1e-6


def test_a_source_that_gives_nothing_is_said_and_costs_nothing(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    table = recipe(raw).model_dump(mode="json")
    table["sources"]["empty"] = {"paths": [str(tmp_path / "empty.jsonl")], "converter": "messages"}
    result = build_mix(Recipe.model_validate(table), out=None)
    assert result.manifest.given.examples == 100
    assert any("empty" in note for note in result.manifest.notes)


def test_dry_run_writes_nothing_and_counts_the_same(raw: Path, tmp_path: Path) -> None:
    dry = build_mix(recipe(raw), out=None)
    assert dry.folder is None
    assert build_mix(recipe(raw), out=tmp_path / "mix").manifest == dry.manifest


def test_books_that_do_not_balance_are_not_written(raw: Path) -> None:
    result = build_mix(recipe(raw), out=None)
    check_books(result.manifest, result.ledger)
    one_less = result.manifest.model_copy(deep=True)
    one_less.sources[0].drawn -= 1
    with pytest.raises(UserError, match="examples are unaccounted for"):
        check_books(one_less, result.ledger)
    row_lost = result.manifest.model_copy(deep=True)
    row_lost.sources[0].files[0].cited -= 1
    with pytest.raises(UserError, match="raw rows are unaccounted for"):
        check_books(row_lost, result.ledger)
    with pytest.raises(UserError, match="examples are unaccounted for"):
        check_books(result.manifest, result.ledger.slice(1))


def test_a_mixture_read_again_keeps_licence_tags_and_own_ids(raw: Path, tmp_path: Path) -> None:
    table = recipe(raw).model_dump(mode="json")
    table["sources"]["alpaca"]["licence"] = "CC-BY-SA-3.0"
    first = build_mix(Recipe.model_validate(table), out=tmp_path / "mix")
    again = gather_data(tmp_path / "mix")[0].rows
    assert again.height == first.mix.height
    by_id = dict(first.mix.select("id", "licence").iter_rows())
    own = again["provenance"].struct.field("own_id").to_list()
    assert [by_id[name] for name in own] == again["licence"].to_list()


def test_a_dry_run_says_what_other_limits_would_drop(raw: Path) -> None:
    result = build_mix(recipe(raw), out=None)
    assert result.alternatives is not None
    tried = {(f, limit, value): dropped for f, limit, value, dropped, _ in result.alternatives.iter_rows()}
    for minimum in (0.1, 0.5):
        again = build_mix(recipe(raw, filters={"quality": {"minimum": minimum}}, use=["quality"]), out=None)
        assert tried["quality", "minimum", minimum] == sum(sum(s.dropped.values()) for s in again.manifest.sources)
    assert [tried["length", "max_tokens", n] for n in (512, 1024)] == [0, 0]
    now = {(f, limit): value for f, limit, value, _, now in result.alternatives.iter_rows() if now}
    assert now["duplicates", "near"] == 0.8


def test_sentences_of_the_tests_are_far_apart() -> None:
    texts = [set(sentence(n).split()) for n in range(50)]
    overlaps = [len(a & b) / len(a | b) for n, a in enumerate(texts) for b in texts[:n]]
    assert np.max(overlaps) < 0.5
