"""Options: the fields of a pydantic model for those that show them to people, store them or refuse a value.

Conventions
-----------
A model's field is the only place where an option's name, type, range, default, help and example are written.
The command line, the form of the HTTP server, the columns of manifests and the reference page read them here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from emoray.errors import RequestError, shown


def _as_number(value: object) -> object:
    """Text as the number that it says; what says none is None, or stays what it is, and is refused."""
    if isinstance(value, bool):
        return None  # pydantic would take it as 0 or 1
    if not isinstance(value, str):
        return value
    for kind in (int, float):
        try:
            return None if "_" in value else kind(value)
        except ValueError:
            continue
    return None


Whole = Annotated[int, BeforeValidator(_as_number)]
"""A whole number, or text that says one."""
Number = Annotated[float, BeforeValidator(_as_number)]
"""A finite number, or text that says one."""


_WRITTEN = {int: "whole number", float: "number", str: "text", bool: "true or false"}


class Option(NamedTuple):
    """One field of a model."""

    name: str
    kind: type
    """``str``, ``int``, ``float``, ``bool`` or a class of the model's own."""
    low: float | None
    """The least that a number may be."""
    high: float | None
    choices: tuple[str, ...]
    """All that a text may be; empty if it is free."""
    default: Any
    required: bool
    help: str
    example: Any
    written: str
    """What a value looks like, in a word or two."""

    @property
    def range(self) -> str:
        """What values are taken, in a few words; empty if that goes without saying."""
        if self.choices:
            return ", ".join(self.choices)
        return "" if self.low is None else f"{self.low} to {self.high}"

    def refusal(self, value: object) -> RequestError:
        """Why the field cannot have this value, for numbers and choices."""
        if self.choices:
            return RequestError(self.name, f"{shown(value)} is unknown; choose {self.range}")
        if self.kind is bool:
            return RequestError(self.name, f"must be true or false, got {shown(value)}")
        kind = "a whole number" if self.kind is int else "a number"
        return RequestError(self.name, f"must be {kind} from {self.range}, got {shown(value)}")

    def check(self, value: Any) -> None:
        """Refuse a value that has the field's type, but is none of its choices or out of its range.

        Raises:
            RequestError: it names the field.
        """
        outside = self.low is not None and self.high is not None and not self.low <= value <= self.high
        if outside or (self.choices and value not in self.choices):  # NaN is outside too
            raise self.refusal(value)


def options_of(model: type[BaseModel]) -> dict[str, Option]:
    """The fields of a model, by name and in its order."""
    return {name: _option(name, info) for name, info in model.model_fields.items()}


def refusal_of(error: ErrorDetails, given: Mapping[str, Any], options: Mapping[str, Option]) -> RequestError:
    """What pydantic refused, in a sentence that names the field and says how to mend it."""
    name = str(error["loc"][0])
    option = options.get(name)
    if option is None:
        return RequestError(shown(name), f"is no option; known are {', '.join(options)}")
    if error["type"] == "missing":
        return RequestError(name, f"is missing; give {option.help[:1].lower()}{option.help[1:].rstrip('.')}")
    if error["type"] == "value_error":
        return RequestError(name, str(error["ctx"]["error"]))
    return option.refusal(given[name])


def reference_table(options: Iterable[Option]) -> str:
    """The options as a table in Markdown: one row each."""
    rows = ["| option | type | values | default | meaning | example |", "|---|---|---|---|---|---|"]
    for option in options:
        default = "required" if option.required else "" if option.default is None else f"`{option.default}`"
        cells = (
            f"`{option.name}`", option.written, option.range, default, option.help, f"`{option.example}`"
        )  # fmt: skip
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def _option(name: str, info: FieldInfo) -> Option:
    [kind, *_] = [
        part for part in (get_args(info.annotation) or (info.annotation,)) if part is not type(None)
    ]
    choices: tuple[str, ...] = ()
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        kind, choices = str, get_args(kind)
    bounds = {key: getattr(rule, key) for rule in info.metadata for key in ("ge", "le") if hasattr(rule, key)}
    return Option(
        name=name,
        kind=get_origin(kind) or kind,
        low=bounds.get("ge"),
        high=bounds.get("le"),
        choices=choices,
        default=None if info.is_required() else info.default,
        required=info.is_required(),
        help=info.description or "",
        example=(info.examples or [""])[0],
        written=info.title or _WRITTEN.get(kind, "") or kind.__name__.lower(),
    )
