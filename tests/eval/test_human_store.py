import sqlite3
from pathlib import Path

import pytest

from caravan.errors import UserError
from caravan.eval.human.store import VOTES, Judgement, begin, open_store
from caravan.eval.pairs import Pair, Pairs

PAIRS = Pairs("oak", "birch", [Pair(f"i{n}", f"p{n}", f"a{n}", f"b{n}") for n in range(5)], [])
LEFT = Judgement(-2, True, False, comment="länger", seconds=3.5)


def test_votes_are_kept_all_and_the_latest_is_found(tmp_path: Path) -> None:
    store = begin(tmp_path / "s", PAIRS)
    store.invite("Ada", "students")
    store.add("key-0001", "Ada", 0, LEFT)
    store.add("key-0002", "Ada", 2, Judgement(None, None, None, reason="hard"))
    store.add("key-0003", "Ada", 0, Judgement(1, True, True))
    store.add("key-0003", "Ada", 0, Judgement(2, False, True))  # sent again: the first was kept
    store.close()
    again = begin(tmp_path / "s", PAIRS)
    assert again.latest("Ada", 0) == Judgement(1, True, True)
    assert again.latest("Ada", 1) is None
    assert again.progress("Ada") == ["judged", "", "skipped", "", ""]
    votes = again.votes()
    assert votes[0].said == LEFT
    assert [(vote.annotator, vote.team, vote.number) for vote in votes] == [("Ada", "students", n) for n in (1, 2, 3)]
    slot, pair = again.shown("Ada", 0) or pytest.fail("nothing is shown")
    assert (votes[0].item, votes[0].left) == (slot.item, slot.left) == (pair.id, slot.left)
    again.close()


@pytest.mark.parametrize("table", ["votes", "slots", "items"])
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "UPDATE {} SET rowid = rowid + 1"])
def test_nothing_is_changed_or_deleted(tmp_path: Path, table: str, statement: str) -> None:
    store = begin(tmp_path / "s", PAIRS)
    store.invite("Ada", "")
    store.add("key-0001", "Ada", 0, LEFT)
    store.close()
    with sqlite3.connect(tmp_path / "s" / VOTES) as db, pytest.raises(sqlite3.Error):
        db.execute(
            statement.format(table).replace("rowid = rowid + 1", "item = 'x'" if table != "items" else "a = 'x'")
        )
    db.close()


def test_an_annotator_keeps_order_and_group(tmp_path: Path) -> None:
    store = begin(tmp_path / "s", PAIRS)
    for name, team in (("Ada", "students"), ("Ben", ""), ("Ada", "")):
        store.invite(name, team)
    assert store.annotators() == [("Ada", "students"), ("Ben", "")]
    before = [store.shown("Ada", at) for at in range(5)]
    with pytest.raises(UserError, match="is in group 'students' already"):
        store.invite("Ada", "paid")
    store.close()
    store = begin(tmp_path / "s", PAIRS)
    assert [store.shown("Ada", at) for at in range(5)] == before
    assert store.shown("Ada", 5) is None
    ben = {slot.item: slot.left for slot, _ in filter(None, (store.shown("Ben", at) for at in range(5)))}
    assert all(ben[slot.item] != slot.left for slot, _ in filter(None, before))
    store.close()


def test_other_answers_are_refused(tmp_path: Path) -> None:
    begin(tmp_path / "s", PAIRS).close()
    changed = Pairs("oak", "birch", [*PAIRS.pairs[:4], Pair("i4", "p4", "a4", "edited")], [])
    with pytest.raises(UserError, match="holds votes on other answers"):
        begin(tmp_path / "s", changed)


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no votes\.sqlite"):
        open_store(tmp_path)
    (tmp_path / VOTES).write_bytes(b"no database, but long enough to be looked at" * 100)
    with pytest.raises(UserError, match="not a store of votes"):
        open_store(tmp_path)
    with pytest.raises(UserError, match="not a store of votes"):
        begin(tmp_path, PAIRS)
    other = tmp_path / "other"
    other.mkdir()
    with sqlite3.connect(other / VOTES) as db:
        db.execute("CREATE TABLE recipes (name TEXT)")
    db.close()
    with pytest.raises(UserError, match="not a store of votes"):
        begin(other, PAIRS)


def test_a_store_whose_making_was_cut_short_is_made(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / VOTES).touch()
    store = begin(tmp_path / "s", PAIRS)
    store.invite("Ada", "")
    assert store.progress("Ada") == [""] * 5
    store.close()


def test_only_its_owner_may_look_into_a_store(tmp_path: Path) -> None:
    begin(tmp_path / "s", PAIRS).close()
    assert (tmp_path / "s").stat().st_mode & 0o077 == 0
