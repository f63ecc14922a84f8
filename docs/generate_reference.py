"""Write the reference: pages about the Python API, the options of a request and the command line.

    python docs/generate_reference.py [FOLDER]

Everything comes from the code: docstrings, the schema of ``GenerationRequest``, the command line's own help.
`make docs` runs it, and a test says whether the pages are up to date. The same code gives the same pages.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

import emoray
from emoray.cli import app
from emoray.options import reference_table
from emoray.request import REQUEST_OPTIONS

REFERENCE = Path(__file__).parent / "reference"
GENERATED = "<!-- Written by docs/generate_reference.py: change the code, then run `make docs`. -->"


def pages() -> dict[str, str]:
    """Name of each page to its text."""
    return {"api.md": api_page(), "options.md": options_page(), "commands.md": commands_page()}


def api_page() -> str:
    """The public names of the package, by their docstrings."""
    lines = [GENERATED, "# Python API", "", "```python", *_docstring(emoray), "```"]
    public = {name: getattr(emoray, name) for name in emoray.__all__}
    errors = {name: value for name, value in public.items() if _is_error(value)}
    for name, value in sorted(public.items(), key=lambda item: (inspect.isclass(item[1]), item[0].lower())):
        if name not in errors:
            lines += ["", f"## `emoray.{name}{_signature(value)}`", "", *_described(value)]
            for member, function in _members(value):
                lines += ["", f"### `{name}.{member}{_signature(function)}`", "", *_described(function)]
    lines += ["", "## Errors", "", "| error | when |", "|---|---|"]
    lines += [f"| `emoray.{name}` | {_docstring(value)[0]} |" for name, value in sorted(errors.items())]
    return "\n".join(lines) + "\n"


def options_page() -> str:
    """The fields of a request."""
    return (
        f"{GENERATED}\n# Options of a request\n\n"
        "These are the fields of `GenerationRequest` in `emoray/request.py`: the options of\n"
        "`emoray generate` (there written `--top-p` for `top_p`), the arguments of `Composer.generate`, the\n"
        "form fields of `POST /v1/generate` and the columns of a manifest. Only a manifest has `id`. A\n"
        "request needs `seed` and one of `image`, `emotion` and `curve`.\n\n"
        + reference_table(REQUEST_OPTIONS.values())
    )


def commands_page() -> str:
    """The help of every command, as the terminal shows it."""
    lines = [GENERATED, "# Commands"]
    for name in ("", *commands(typer.main.get_command(app))):
        shown = CliRunner().invoke(app, [*name.split(), "--help"], prog_name="emoray", env={"COLUMNS": "100"})
        text = "\n".join(line.rstrip() for line in shown.output.strip().splitlines())
        lines += ["", f"## `{f'emoray {name}'.strip()}`", "", "```text", text, "```"]
    return "\n".join(lines) + "\n"


def commands(group: Any, prefix: str = "") -> Iterator[str]:
    """Every command of the command line with its group's name: ``batch run``."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _is_error(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, Exception)


def _members(value: Any) -> list[tuple[str, Any]]:
    """The public methods of a class, in the order of the source; inherited ones are left out."""
    found = vars(value).items() if inspect.isclass(value) else ()
    return [(name, one) for name, one in found if inspect.isfunction(one) and not name.startswith("_")]


def _signature(value: Any) -> str:
    if inspect.isclass(value):
        return ""
    parameters = inspect.signature(value).parameters.values()
    return str(
        inspect.Signature(
            [one.replace(annotation=inspect.Parameter.empty) for one in parameters if one.name != "self"]
        )
    )


def _described(value: Any) -> list[str]:
    return ["```text", *_docstring(value), "```", *_fields(value)]


def _docstring(value: Any) -> list[str]:
    """The lines of a docstring; the examples' machinery and the fields of dataclasses are not prose."""
    return (inspect.getdoc(value) or "").rstrip().splitlines()


def _fields(value: Any) -> list[str]:
    """The fields of a dataclass with the strings below them, and the properties of a class."""
    if not inspect.isclass(value):
        return []
    rows = [*_field_rows(value), *_property_rows(value)]
    return ["", "| attribute | meaning |", "|---|---|", *rows] if rows else []


def _field_rows(value: Any) -> Iterator[str]:
    body = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0].body  # type: ignore[attr-defined]
    for field, below in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
            text = " ".join(ast.literal_eval(below.value).split())
            yield f"| `{field.target.id}`: `{_cell(ast.unparse(field.annotation))}` | {_cell(text)} |"  # type: ignore[union-attr]


def _property_rows(value: Any) -> Iterator[str]:
    for name, one in vars(value).items():
        if isinstance(one, property):
            yield f"| `{name}` | {_cell(' '.join(_docstring(one)))} |"


def main(folder: Path) -> None:
    """Write the pages."""
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else REFERENCE)
