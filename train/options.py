"""Flags made from a configuration model: each field is one, so that a key of the TOML file and a flag are one thing."""

import inspect
import types
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

F = TypeVar("F", bound=Callable[..., Any])


def options(kind: type[BaseModel], only: Sequence[str] | None = None) -> Callable[[F], F]:
    """Give a typer command one option a field of `kind`, in place of its parameter `**given`.

    `given` then holds every field, None where no flag was given: the file and the defaults decide. A field that the
    command declares itself (the data, as an argument) is left to it; `only` names the fields that count for it.
    """

    def decorate(command: F) -> F:
        own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
        named = {p.name for p in own}
        made = [
            _option(name, field)
            for name, field in kind.model_fields.items()
            if name not in named and (only is None or name in only)
        ]
        command.__signature__ = inspect.Signature([*own, *made])  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in (*own, *made)}
        return command

    return decorate


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    flag = "--" + name.replace("_", "-")
    kind, many, choices = _shape(field.annotation)
    flags = [f"{flag}/--no-{flag[2:]}"] if kind is bool else [flag]
    option: Any = typer.Option(
        *flags,
        help=f"{field.description}{_default(name, field)}",
        show_default=False,
        parser=_one_of(choices) if choices else None,
        metavar=f"<{'|'.join(choices)}>" if choices else None,
    )
    annotation: Any = list[kind] if many else kind  # type: ignore[valid-type]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[annotation | None, option]
    )


def _shape(annotation: Any) -> tuple[type, bool, tuple[str, ...]]:
    """The type of one value, whether the option repeats, and the choices, if it has such."""
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not type(None))
    if get_origin(annotation) is list:
        kind, _, choices = _shape(get_args(annotation)[0])
        return kind, True, choices
    if get_origin(annotation) is Literal:
        return str, False, get_args(annotation)
    return annotation, False, ()


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(choices)}")
        return text

    return parse


def _default(name: str, field: FieldInfo) -> str:
    """What holds without the flag; nothing for what is off, empty, or said by the description."""
    value = field.default
    if value is None or value is False or value == []:
        return ""
    shown = name.replace("_", "-") if value is True else f"{value:g}" if isinstance(value, float) else value
    return f" [default: {shown}]"
