"""Who speaks: the names that published conversations use for the four roles, in one place for all converters."""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator

from caravan.converters.schema import Role
from caravan.errors import did_you_mean

ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "system",  # what newer OpenAI files call it
    "human": "user",
    "user": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "function_call": "assistant",  # the call is the model's own output; what comes back is "observation"
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}


def _check(roles: dict[str, str]) -> dict[str, str]:
    for name, meant in roles.items():
        if meant.strip().casefold() not in ROLES:
            raise ValueError(f"{name!r} is mapped to {meant!r}, which is no role; {did_you_mean(meant, ROLES)}")
    return roles


RoleMap = Annotated[dict[str, str], AfterValidator(_check)]
"""The type of an option `roles`: a name in the raw data -> any name in `ROLES`."""


def role_of(name: str, extra: Mapping[str, str]) -> Role | None:
    """The role behind a name in raw data, or None if nobody knows it.

    `extra` (a recipe's `roles`) maps further names to any name in `ROLES` and wins over it. Case and outer white
    space of names do not count. A name that `extra` maps to something unknown is unknown.
    """
    key = name.strip().casefold()
    for raw, meant in extra.items():
        if raw.strip().casefold() == key:
            return ROLES.get(meant.strip().casefold())
    return ROLES.get(key)
