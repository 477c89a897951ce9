"""Who may speak when: from the turns of a dialogue as they were found to exchanges that can be trained on.

The rules, in this order. Nobody's role is ever changed, no turn moves.

1. A blank system or user turn is dropped (`blank_turn`). A blank tool turn stays: a tool may return nothing.
2. Turns of one role running are one turn, joined by a blank line: people send two messages, models are told to go
   on. Tool turns stay apart: they are the results of parallel calls. Blank answers in such a run are dropped
   (`blank_turn`).
3. A system turn stands first or nowhere: one inside refuses the whole dialogue (`system_turn_inside`).
4. What assistants and tools say before the first user turn is dropped (`leading_assistant_turn`).
5. An answer that is blank is dropped together with its question (`empty_response`); alone (`blank_turn`) if a tool
   turn stands before or after it.
6. User and tool turns after the last answer are cut (`trailing_user_turn`, `trailing_tool_turn`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from pydantic import JsonValue

from caravan.converters.schema import JsonObject, Role


class Place(NamedTuple):
    """Where a turn was found: raw row, and number of the turn in it, from 0 (-1: a field of the row itself)."""

    row: int
    turn: int


class Turn(NamedTuple):
    """One turn as found. `name` is the raw name of the speaker, `places` more than one where chunks repeat it."""

    role: Role
    text: str
    name: str
    places: tuple[Place, ...]
    weight: int | None = None
    extra: JsonObject | None = None

    @property
    def blank(self) -> bool:
        """Whether there is nothing to read."""
        return not self.text.strip()

    def as_json(self) -> JsonValue:
        """How a lost turn is reported."""
        return {"row": self.places[0].row, "turn": self.places[0].turn, "role": self.role, "content": self.text}


class Run(NamedTuple):
    """What becomes one message: turns of one role without another in between."""

    role: Role
    turns: tuple[Turn, ...]

    @property
    def text(self) -> str:
        """The content of the message."""
        return "\n\n".join(turn.text for turn in self.turns)


class Loss(NamedTuple):
    """Turns that reach no example, and why."""

    code: str
    turns: tuple[Turn, ...]


@dataclass(slots=True)
class Arranged:
    """A dialogue in order: a system turn or none, exchanges that each begin with the user and hold an answer."""

    head: Run | None
    exchanges: list[list[Run]]
    lost: list[Loss]


def arrange(turns: Iterable[Turn]) -> Arranged:
    """Apply the rules of this module. A dialogue that they refuse has no exchanges and all its turns in `lost`."""
    turns = tuple(turns)
    lost = list[Loss]()
    runs = list(_runs(turns, lost))
    head = runs.pop(0) if runs and runs[0].role == "system" else None
    if any(run.role == "system" for run in runs):
        return Arranged(None, [], [Loss("system_turn_inside", turns)])
    while runs and runs[0].role != "user":
        lost.append(Loss("leading_assistant_turn", runs.pop(0).turns))
    runs = _drop_empty_answers(runs, lost)
    while runs and runs[-1].role in ("user", "tool"):
        lost.append(Loss(f"trailing_{runs[-1].role}_turn", runs.pop().turns))
    exchanges = list[list[Run]]()
    for run in runs:
        if run.role == "user":
            exchanges.append([])
        exchanges[-1].append(run)
    if head is not None and not exchanges:
        lost.append(Loss("only_system_turn", head.turns))
    return Arranged(head if exchanges else None, exchanges, lost)


def _runs(turns: tuple[Turn, ...], lost: list[Loss]) -> Iterator[Run]:
    spoken = list[Turn]()
    for turn in turns:
        if turn.blank and turn.role in ("system", "user"):
            lost.append(Loss("blank_turn", (turn,)))
        else:
            spoken.append(turn)
    for role, run in groupby(spoken, key=lambda turn: turn.role):
        together = tuple(run)
        if role == "tool":
            yield from (Run(role, (turn,)) for turn in together)
            continue
        read = tuple(turn for turn in together if not turn.blank)
        if read and len(read) < len(together):
            lost.append(Loss("blank_turn", tuple(turn for turn in together if turn.blank)))
        yield Run(role, read or together)


def _drop_empty_answers(runs: list[Run], lost: list[Loss]) -> list[Run]:
    kept = list[Run]()
    for i, run in enumerate(runs):
        if run.role != "assistant" or not all(turn.blank for turn in run.turns):
            kept.append(run)
            continue
        tool_follows = i + 1 < len(runs) and runs[i + 1].role == "tool"
        if kept[-1].role == "user" and not tool_follows:
            lost.append(Loss("empty_response", kept.pop().turns + run.turns))
        else:
            lost.append(Loss("blank_turn", run.turns))
    return kept
