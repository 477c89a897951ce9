"""Names of speakers: one map for all converters, and what a recipe may add to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from caravan.converters.roles import ROLES, RoleMap, role_of


@pytest.mark.parametrize(
    ("role", "names"),
    [
        ("user", ["human", "user", "prompter"]),
        ("assistant", ["assistant", "gpt", "chatgpt", "bing", "bard", "model", "function_call"]),
        ("system", ["system", "developer"]),
        ("tool", ["tool", "function", "observation"]),
    ],
)
def test_the_published_names(role: str, names: list[str]) -> None:
    assert [role_of(name, {}) for name in names] == [role] * len(names)
    assert {name for name, meant in ROLES.items() if meant == role} == set(names)


@pytest.mark.parametrize("name", ["UTILISATEUR", "", "instruction", "assistants", "критик"])
def test_nobody_is_guessed(name: str) -> None:
    assert role_of(name, {}) is None


@given(st.sampled_from(sorted(ROLES)), st.sampled_from(["", " ", "\t"]))
def test_case_and_outer_space_do_not_count(name: str, space: str) -> None:
    assert role_of(space + name.upper() + space, {}) == ROLES[name]


def test_a_recipe_adds_names_and_may_overrule() -> None:
    extra = {"Utilisateur": "human", "model": "system"}
    assert role_of("UTILISATEUR", extra) == "user"
    assert role_of("model", extra) == "system"
    assert role_of("gpt", extra) == "assistant"


def test_a_recipe_that_names_no_role_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValidationError, match="did you mean 'assistant'"):
        TypeAdapter(RoleMap).validate_python({"bot": "assistent"})
