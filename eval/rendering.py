"""A prompt's two forms: plain text, or one user turn of a chat whose answer has begun."""

from collections.abc import Callable

from caravan.eval.benchmark import Ask


def plain(ask: Ask) -> str:
    """The text as it is, with its ending."""
    return ask.text + ask.ending if ask.plain is None else ask.plain


def chat(ask: Ask, render: Callable[[str], str]) -> str:
    """The text as a user turn; `render` gives the turn with the assistant's header after it.

    The opener follows at once where the header ends in white space, else after one space, as the published code has it.
    """
    header = render(ask.text)
    if not ask.opener or header.endswith((" ", "\n")):
        return header + ask.opener
    return f"{header} {ask.opener}"
