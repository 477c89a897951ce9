"""The card and the hand-over: counted numbers, a header that the hub's own library reads, hostile names."""

import json
import string
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from datasets import load_dataset
from huggingface_hub import DatasetCard
from hypothesis import given
from hypothesis import strategies as st

import caravan.mixtures
from caravan.curate import recipe as recipes
from caravan.mixtures import handover
from caravan.mixtures.card import card
from caravan.mixtures.manifest import Amount, BenchmarkRecord, FileRead, Manifest, SourceRecord


def source(name: str = "cot", licence: str = "Apache-2.0", file: str = "cot/a.tsv") -> SourceRecord:
    read = FileRead(
        file=file, sha256="ab" * 32, bytes=10, converter="flan", converter_version=1, rows=1200, cited=1100,
        rejected=90, quarantined=10, examples=1150, codes={"empty_response": 90},
    )  # fmt: skip
    return SourceRecord(
        name=name,
        licences=licence.split(", ") if licence else [],
        files=[read],
        examples=1150,
        dropped={"exact_duplicate": 150},
        drawn=900,
        validation=0,
        not_drawn=100,
        quality=0.5,
        share_requested=0.5,
        share_given=0.45,
        requested=1000,
        given=Amount(examples=1234, tokens=56789, supervised_tokens=34567),
        max_copies=2,
    )


def manifest(
    *sources: SourceRecord, validation: int = 0, name: str = "trial", notes: list[str] | None = None
) -> Manifest:
    return Manifest(
        caravan="0.1.0", content_hash="cd" * 32, recipe={"name": name}, seed=7, unit="examples",
        token_counter="cl100k_base", requested=2000, given=Amount(examples=1234, tokens=56789, supervised_tokens=34567),
        validation=Amount(examples=validation), embedded_samples=False, sources=list(sources), filters=[],
        benchmarks=[
            BenchmarkRecord(
                name="gsm8k", items=1319, too_short=19, hit=13, rows_hit=21, rows_answered=8, suspected=5,
                rows_suspected=6, variants=2, rows_variants=4, embedded=False,
            )
        ],
        strategy={"name": "tuned"}, libraries={}, notes=notes or [],
    )  # fmt: skip


def header(text: str) -> dict[str, object]:
    data: dict[str, object] = yaml.safe_load(text.split("---\n")[1])
    return data


def test_every_number_is_the_manifests() -> None:
    text = card(manifest(source(), validation=50))
    assert "1,234 conversations from 1 source: 56,789 tokens, 34,567 of them in the assistant's turns" in text
    assert "| cot | Apache-2.0 | 1,234 | 56,789 | 50.00% | 45.00% | 900 | 2 |" in text
    assert "| exact_duplicate | 150 | 150 |" in text
    assert "| not converted: empty_response | 90 | 90 |" in text
    assert "| unreadable | 10 | 10 |" in text
    assert "| gsm8k | 1,319 | 19 | 13 | 0.99% (0.58 to 1.68) | 21 (1.83%) | 8 | 5 | 2 |" in text
    assert "validation split of 50 conversations" in text


def test_the_header_is_one_that_the_hub_reads() -> None:
    text = card(manifest(source(), source("dolly"), validation=5), {"en": 1200, "fr": 30, "und": 3, "tl": 1})
    data = DatasetCard(text).data.to_dict()  # type: ignore[no-untyped-call]
    assert data["license"] == "apache-2.0"
    assert data["language"] == ["en", "fr"]  # no trace of one row in a thousand, nothing undetermined
    assert data["size_categories"] == ["1K<n<10K"]
    assert data["task_categories"] == ["text-generation"]
    assert data["configs"][0]["data_files"] == [
        {"split": "train", "path": "mix.parquet"},
        {"split": "validation", "path": "validation.parquet"},
    ]


def test_mixed_licences_are_listed_and_non_commercial_ones_flagged() -> None:
    text = card(
        manifest(source("flan"), source("code", "CC-BY-NC-4.0"), source("dolly", "CC-BY-SA-3.0"), source("x", ""))
    )
    data = header(text)
    assert (data["license"], data["license_name"]) == ("other", "by-source")
    assert data["license_details"] == "flan: Apache-2.0; code: CC-BY-NC-4.0; dolly: CC-BY-SA-3.0; x: not stated"
    assert "**Non-commercial use only** for the rows of code, and so for the whole." in text
    assert "Share alike: what is made from the rows of dolly must" in text
    assert "No licence is stated for x" in text


@pytest.mark.parametrize("licence", ["Apache-2.0", "MIT", "ODC-By-1.0", "sync licence", "Advance-SA licence"])
def test_the_flag_goes_by_whole_words(licence: str) -> None:
    assert "Non-commercial" not in card(manifest(source(licence=licence)))


@pytest.mark.parametrize("licence", ["CC BY-NC 4.0", "cc-by-nc-sa-4.0", "non-commercial research", "Noncommercial"])
def test_every_spelling_of_non_commercial_is_found(licence: str) -> None:
    assert "**Non-commercial use only**" in card(manifest(source(licence=licence)))


def test_a_source_that_gave_nothing_lays_no_duty_on_the_mixture() -> None:
    unused = source("code", "CC-BY-NC-4.0").model_copy(update={"given": Amount()})
    assert "Non-commercial" not in card(manifest(source(), unused))


@given(st.text(), st.text(alphabet=string.printable))
def test_no_name_breaks_the_header_or_a_table(name: str, licence: str) -> None:
    whole = card(manifest(source(name, licence, file=name), name=name, notes=[name]))
    data = header(whole)
    assert data["pretty_name"] == (name or "Instruction mixture")
    lines = whole.encode("utf-8", "strict").decode().splitlines()
    head = lines.index(
        "| source | licence | rows | tokens | share requested | share given | distinct rows | most copies |"
    )
    assert len(lines[head + 2].replace("\\\\", "").replace("\\|", "").split("|")) == 10
    assert lines[head + 3] == ""


def test_html_in_a_name_is_text() -> None:
    text = card(manifest(source("<script>alert(1)</script>", "x | y\n# z")))
    assert "<script>" not in text.split("---\n", 2)[2].replace("\\<", "")
    assert "\n# z" not in text


def test_rows_from_the_hub_name_their_data_set() -> None:
    assert header(card(manifest(source(file="hub:tatsu-lab/alpaca"))))["source_datasets"] == ["tatsu-lab/alpaca"]
    assert header(card(manifest(source())))["source_datasets"] == ["extended"]


def test_an_empty_mixture_has_a_card() -> None:
    empty = manifest().model_copy(update={"given": Amount(), "benchmarks": [], "requested": 0})
    text = card(empty)
    assert "0 conversations from 0 sources" in text
    assert "No benchmark was compared with" in text
    assert header(text)["size_categories"] == ["n<1K"]


def test_the_handover_names_files_that_lie_beside_it(tmp_path: Path) -> None:
    handover.write(tmp_path, manifest(source(), validation=5))
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    assert info["caravan_mix"]["file_name"] == "mix.parquet"
    assert info["caravan_mix_validation"]["file_name"] == "validation.parquet"
    tags = info["caravan_mix"]["tags"]
    assert (tags["role_tag"], tags["content_tag"]) == ("role", "content")
    assert {tags[f"{k}_tag"] for k in ("user", "assistant", "system", "observation")} == {
        "user", "assistant", "system", "tool",
    }  # fmt: skip
    stanza = yaml.safe_load((tmp_path / "axolotl.yaml").read_text())
    assert stanza["datasets"][0]["type"] == "chat_template"
    assert stanza["datasets"][0]["field_messages"] == "messages"
    assert stanza["test_datasets"][0]["path"] == "validation.parquet"
    assert '"validation": "validation.parquet"' in (tmp_path / "handover.md").read_text()
    compile(handover.trl(manifest(source(), validation=5)), "trl", "exec")


def test_without_a_validation_split_nothing_names_one(tmp_path: Path) -> None:
    handover.write(tmp_path, manifest(source()))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["axolotl.yaml", "dataset_info.json", "handover.md"]
    assert not any("validation" in p.read_text() for p in tmp_path.iterdir())


def test_the_shipped_recipes_load_and_hold_the_published_numbers() -> None:
    assert recipes.shipped() == ["equal", "lima-1k", "tulu", "tulu-code", "tulu1-human"]
    tulu = recipes.load("tulu")
    assert {n: s.share for n, s in tulu.sources.items()} == {
        "flan": 0.30, "sharegpt": 0.35, "oasst": 0.15, "cot": 0.15, "dolly": 0.05,
    }  # fmt: skip
    assert (tulu.size, tulu.strategy.name) == (80_000, "tuned")
    code = recipes.load("tulu-code")
    assert {n: s.share for n, s in code.sources.items()} == {
        "flan": 0.30, "sharegpt": 0.35, "oasst": 0.15, "cot": 0.10, "code": 0.10,
    }  # fmt: skip
    assert code.size == 75_000
    assert set(recipes.load("tulu1-human").sources) == {"flan", "cot", "dolly", "oasst"}
    lima = recipes.load("lima-1k")
    assert (lima.size, lima.max_repeats, lima.strategy.name) == (1000, 1, "quality_weighted")


def test_recipes_are_package_data() -> None:
    folder = Path(caravan.mixtures.__file__).parent / "recipes"
    for name in recipes.shipped():
        assert recipes.load(name).name == name
        assert (folder / f"{name}.toml").read_text(encoding="utf-8").startswith("# ")


def test_a_folder_with_the_card_as_readme_loads_as_it_is(tmp_path: Path) -> None:
    import polars as pl

    turns = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Good day."}]
    pl.DataFrame({"messages": [turns], "id": ["a"]}).write_parquet(tmp_path / "mix.parquet")
    pl.DataFrame({"other": [1]}).write_parquet(tmp_path / "ledger.parquet")
    (tmp_path / "README.md").write_text(card(manifest(source("<b>'\"\\"))), encoding="utf-8")
    handover.write(tmp_path, manifest(source()))
    data = load_dataset(str(tmp_path), cache_dir=str(tmp_path / "cache"))
    assert data["train"][0]["messages"] == turns
