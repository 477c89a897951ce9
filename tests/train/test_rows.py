"""What is read: mixtures checked against their manifest, other files, pairs; what is none is said by file and row."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from caravan.curate.build import build_mix
from caravan.curate.recipe import Recipe
from caravan.errors import UserError
from caravan.terminal import Progress
from caravan.train.rows import read_pairs, read_rows
from chats import talk

QUIET = Progress(quiet=True)


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "mix"
    questions = [{"instruction": f"What is {n} times {n}?", "input": "", "output": f"{n * n}."} for n in range(12)]
    raw = folder.parent / "squares.json"
    raw.write_text(json.dumps(questions), encoding="utf-8")
    talks = [{"messages": talk(f"u:Say {n}.", f"a:{n}!", "u:Again.", f"a:{n}! {n}!")} for n in range(5)]
    chats = folder.parent / "chats.jsonl"
    chats.write_text("".join(json.dumps(row) + "\n" for row in talks), encoding="utf-8")
    sources = {"squares": {"paths": [str(raw)]}, "chats": {"paths": [str(chats)]}}
    build_mix(Recipe.model_validate({"sources": sources, "use": [], "size": 24, "strategy": "equal"}), out=folder)
    return folder


@pytest.fixture
def mix(mixture: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(mixture, tmp_path / "mix"))


def parquet(path: Path, rows: list[dict[str, Any]], **keys: Any) -> str:
    pl.DataFrame(rows, **keys).write_parquet(path)
    return str(path)


def refusal(path: str) -> str:
    with pytest.raises(UserError) as error:
        read_rows(path, QUIET)
    return str(error.value)


# --- mixtures


def test_a_mixture_is_read_row_for_row(mix: Path) -> None:
    rows = read_rows(str(mix), QUIET)
    written = pl.read_parquet(mix / "mix.parquet")
    assert rows.path == mix / "mix.parquet"
    assert rows.frame["messages"].to_list() == written["messages"].to_list()
    assert rows.frame.select("source", "row_id", "id").equals(written.select("source", "row_id", "id"))
    assert rows.frame["weights"].null_count() == rows.frame.height == 24
    assert rows.frame["id"].n_unique() < 24, "a repeated row stays repeated"
    assert rows.manifest is not None
    assert rows.content_hash == rows.manifest.content_hash


def test_a_mixture_that_is_not_its_manifests_is_refused(mix: Path) -> None:
    frame = pl.read_parquet(mix / "mix.parquet")
    frame.reverse().write_parquet(mix / "mix.parquet")
    assert re.search(
        r"mix\.parquet: its rows .* are not those of its manifest .*; build the mixture", refusal(str(mix))
    )
    (mix / "manifest.json").write_text("{}")
    assert "manifest.json: not a manifest of this version" in refusal(str(mix))


def test_a_mixture_without_manifest_is_read_with_a_warning(mix: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (mix / "manifest.json").unlink()
    assert read_rows(str(mix), QUIET).manifest is None
    assert "no manifest.json beside it" in capsys.readouterr().err


@pytest.mark.parametrize("typed", ["mix", "mix/mix.parquet", ".", "mix.parquet", "mix/mix/mix.parquet"])
def test_paths_as_people_type_them(
    mix: Path, typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(mix.parent)
    assert read_rows(typed, Progress()).path.resolve() == mix / "mix.parquet"
    said = "is not there: reading mix/mix.parquet" in capsys.readouterr().err
    assert said == (typed not in ("mix", "mix/mix.parquet"))


def test_a_mixture_in_the_folder_itself(mix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mix)
    assert read_rows("mix/mix.parquet", QUIET).frame.height == 24, "the default, typed within the folder"


# --- other files


def test_any_parquet_of_messages(tmp_path: Path) -> None:
    turns = talk("u:Hi", "a:Hello.")
    path = parquet(tmp_path / "mine.parquet", [{"messages": turns}, {"messages": turns}])
    rows = read_rows(path, QUIET)
    assert rows.frame["source"].to_list() == ["mine", "mine"]
    assert rows.frame["row_id"].to_list() == rows.frame["id"].to_list() == ["mine.parquet:1", "mine.parquet:2"]
    assert rows.manifest is None
    assert rows.frame["messages"].to_list() == [turns, turns]


def test_names_are_taken_where_they_are(tmp_path: Path) -> None:
    turns = talk("u:Hi", "a:Hello.")
    table: list[dict[str, Any]] = [
        {"messages": turns, "source": "web", "id": 7},
        {"messages": turns, "source": None, "id": 8},
    ]
    rows = read_rows(parquet(tmp_path / "mine.parquet", table), QUIET)
    assert rows.frame.select("source", "row_id", "id").rows() == [("web", "7", "7"), ("mine", "8", "8")]


def test_the_content_hash_names_texts_sources_and_weights(tmp_path: Path) -> None:
    def hash_of(content: str = "Hello.", source: str = "web", tags: str | None = None, stem: str = "a") -> str:
        row = {"messages": talk("u:Hi", f"a:{content}"), "source": source, "tags": tags}
        return read_rows(
            parquet(tmp_path / f"{stem}.parquet", [row], schema_overrides={"tags": pl.String}), QUIET
        ).content_hash

    assert hash_of() == hash_of(stem="b") == hash_of(tags='{"lang": "en"}')
    weighed = '{"weights": [0, 0]}'
    assert len({hash_of(), hash_of("Hallo."), hash_of(source="book"), hash_of(tags=weighed)}) == 4


def test_weights_come_from_tags(tmp_path: Path) -> None:
    turns = talk("u:Hi", "a:Hello.", "u:Bye", "a:Bye.")
    tags = ['{"weights":[1,0,1,1]}', '{"topic":"weights"}', None, '{"weights":null}']
    rows = read_rows(parquet(tmp_path / "a.parquet", [{"messages": turns, "tags": tag} for tag in tags]), QUIET)
    assert rows.frame["weights"].to_list() == [[1, 0, 1, 1], None, None, None]


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ('{"weights":[1]}', r"a\.parquet:2: tags.weights is \[1\], not 2 times 0 or 1"),
        ('{"weights":[1,0.5]}', r"a\.parquet:2: tags.weights is \[1, 0.5\], not 2 times"),
        ('{"weights":"no"}', r"a\.parquet:2: tags.weights is \"no\", not"),
        ('"weights" [', r"a\.parquet:2: tags is not JSON"),
    ],
)
def test_weights_that_are_none_are_refused(tmp_path: Path, tags: str, says: str) -> None:
    turns = talk("u:Hi", "a:Hello.")
    table = [{"messages": turns, "tags": "{}"}, {"messages": turns, "tags": tags}]
    assert re.search(says, refusal(parquet(tmp_path / "a.parquet", table)))


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "messages holds no message"),
        (None, "messages holds no message"),
        ([{"role": "human", "content": "Hi"}], "a message of role human; known are system, user, assistant, tool"),
        ([{"role": None, "content": "Hi"}], "a message of role null"),
        ([{"role": "user", "content": None}], "a message of role user without content"),
        ([*talk("u:Hi"), None], "a message of role null"),
    ],
)
def test_a_row_that_is_no_conversation_is_named(tmp_path: Path, messages: Any, says: str) -> None:
    good = talk("u:Hi", "a:Hello.")
    path = parquet(tmp_path / "a.parquet", [{"messages": good}, {"messages": messages}, {"messages": good}])
    assert f"a.parquet:2: {says}" in refusal(path) or f"a.parquet:2: messages has {says}" in refusal(path)


def test_files_that_hold_no_conversations(tmp_path: Path) -> None:
    assert "nothing.parquet: no such file" in refusal(str(tmp_path / "nothing.parquet"))
    (tmp_path / "text.parquet").write_text("not a table")
    assert "text.parquet: not a Parquet file that can be read" in refusal(str(tmp_path / "text.parquet"))
    assert "no column 'messages'; there are text" in refusal(parquet(tmp_path / "a.parquet", [{"text": "Hi"}]))
    assert "is String, not a list of {role, content}" in refusal(parquet(tmp_path / "b.parquet", [{"messages": "Hi"}]))
    other = [{"messages": [{"from": "human", "value": "Hi"}]}]
    assert "not a list of {role, content}" in refusal(parquet(tmp_path / "c.parquet", other))
    none = pl.DataFrame({"messages": [talk("u:Hi")]}).clear()
    none.write_parquet(tmp_path / "d.parquet")
    assert "d.parquet: no rows" in refusal(str(tmp_path / "d.parquet"))
    assert "mix.parquet: no such file" in refusal(str(tmp_path))


def test_further_fields_of_a_message_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    turns = [{"content": "Hi", "name": "Ann", "role": "user"}, {"content": "Yes.", "name": None, "role": "assistant"}]
    rows = read_rows(parquet(tmp_path / "a.parquet", [{"messages": turns}]), QUIET)
    assert rows.frame["messages"].to_list() == [talk("u:Hi", "a:Yes.")]
    assert "only role and content are used, not name" in capsys.readouterr().err


# --- pairs


def test_pairs_become_two_rows_with_weights_on_the_answer(tmp_path: Path) -> None:
    prompt = talk("s:Be kind.", "u:Hi", "a:Hello.", "u:How are you?")
    row = {"prompt": prompt, "chosen": talk("a:Well, and you?"), "rejected": talk("a:Ask.", "u:Why?", "a:So.")}
    rows = read_pairs(parquet(tmp_path / "prefs.parquet", [row | {"id": "x1"}, row | {"id": "x2"}]), QUIET)
    assert rows.frame["messages"].to_list()[:2] == [prompt + row["chosen"], prompt + row["rejected"]]
    assert rows.frame["weights"].to_list()[2:] == [[0, 0, 0, 0, 1], [0, 0, 0, 0, 1, 0, 1]]
    assert rows.frame["row_id"].to_list() == ["x1:chosen", "x1:rejected", "x2:chosen", "x2:rejected"]
    assert rows.frame["source"].to_list() == ["prefs"] * 4
    swapped = row | {"chosen": row["rejected"], "rejected": row["chosen"], "id": "x1"}
    other = read_pairs(parquet(tmp_path / "swapped.parquet", [swapped]), QUIET)
    assert other.content_hash != rows.content_hash


def test_pairs_without_an_answer_are_refused(tmp_path: Path) -> None:
    good = {"prompt": talk("u:Hi"), "chosen": talk("a:Hello."), "rejected": talk("a:No.")}
    with pytest.raises(UserError, match=r"a\.parquet:2: rejected has no assistant message"):
        read_pairs(parquet(tmp_path / "a.parquet", [good, good | {"rejected": talk("u:Hello?")}]), QUIET)
    with pytest.raises(UserError, match=r"b\.parquet:2: chosen holds no message"):
        read_pairs(parquet(tmp_path / "b.parquet", [good, good | {"chosen": []}]), QUIET)
    with pytest.raises(UserError, match="no column 'prompt'; there are messages"):
        read_pairs(parquet(tmp_path / "c.parquet", [{"messages": good["prompt"]}]), QUIET)
