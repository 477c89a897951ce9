from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.errors import UserError
from caravan.eval.human import links

KEY = b"k" * 32
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(names)
def test_a_token_names_its_holder(name: str) -> None:
    token = links.token(KEY, name)
    assert links.holder(KEY, token) == name
    assert all(c.isalnum() or c in "-_." for c in token)


@given(names, st.data())
def test_a_changed_token_names_nobody(name: str, data: st.DataObject) -> None:
    token = links.token(KEY, name)
    at = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("Aab0_-.é"))
    changed = token[:at] + letter + token[at + 1 :]
    assert links.holder(KEY, changed) == (name if changed == token else None)
    assert links.holder(b"x" * 32, token) is None


@given(st.text(max_size=40))
def test_any_text_is_refused_quietly(text: str) -> None:
    assert links.holder(KEY, text) is None


def test_a_signature_for_one_purpose_is_none_for_another() -> None:
    assert links.sign(KEY, "form", "Ada") != links.sign(KEY, "link", "Ada")


def test_the_secret_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    first = links.secret(path)
    assert len(first) == 32
    assert links.secret(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["secret"]
    assert links.secret(tmp_path / "other") != first


def test_a_secret_that_others_can_read_or_that_is_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    links.secret(path)
    path.chmod(0o644)
    with pytest.raises(UserError, match="others may read"):
        links.secret(path)
    path.chmod(0o600)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="not a secret"):
        links.secret(path)
