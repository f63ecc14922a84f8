"""Options of commands that are fields of ``GenerationRequest``, with its names, types, ranges and help.

Conventions
-----------
A command that takes them has ``**options`` and is decorated. Values arrive as the text that was typed, and
the request checks them, so that a mistake has the same words here as in a manifest and over HTTP.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from emoray.options import Option
from emoray.request import REQUEST_OPTIONS

Command = TypeVar("Command", bound=Callable[..., None])


def takes_options(*names: str) -> Callable[[Command], Command]:
    """Put these fields of a request in the place of a command's ``**options``."""

    def decorate(command: Command) -> Command:
        hints = typing.get_type_hints(command, include_extras=True)
        own = [
            parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in inspect.signature(command).parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        taken = [_parameter(REQUEST_OPTIONS[name]) for name in names]
        everything = sorted([*taken, *own], key=lambda one: one.default is not inspect.Parameter.empty)
        command.__signature__ = inspect.Signature(everything)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in everything}
        return command

    return decorate


def _parameter(option: Option) -> inspect.Parameter:
    flag = f"--{option.name.replace('_', '-')}"
    default: Any = inspect.Parameter.empty if option.required else None
    if option.kind is bool:
        kind: Any = Annotated[bool, typer.Option(flag, help=option.help)]
        default = False
    else:
        taken = option.range and f" [{option.range}]"
        usual = "" if option.default is None else f" [default: {option.default}]"
        text = typer.Option(
            flag,
            help=f"{option.help}{taken}{usual}",
            metavar=option.written.upper().replace(" ", "-"),
            show_default=False,
        )
        kind = Annotated[str if option.required else str | None, text]
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
