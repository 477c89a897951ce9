"""The exceptions that a person is meant to read.

    Exception
    └── UserError            bad input or usage: what, where, what to do; exit status 2
        └── PluginError      a plugin that is missing, doubled, or breaks its contract

A command prints a `UserError` as one line, without a traceback. Anything else that escapes is a bug of ours.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something that the person at the keyboard can mend.

    `what` is the fact, `where` the file (and row, `FILE:ROW`) or the key of a recipe, `fix` what to do.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__((f"{where}: " if where else "") + what + (f"; {fix}" if fix else ""))

    def __reduce__(self) -> tuple[object, ...]:
        """Keep `where` and `fix` when the error crosses from a worker process."""
        return (_rebuild, (type(self), self.what, self.where, self.fix))


class PluginError(UserError):
    """A plugin is missing, doubled, or breaks its contract."""


def _rebuild(kind: type[UserError], what: str, where: str, fix: str) -> UserError:
    return kind(what, where=where, fix=fix)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The half sentence that helps after an unknown name: the nearest known one, or all of them."""
    names = sorted(known)
    near = get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
