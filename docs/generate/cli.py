"""docs/cli.md: every command of `laser-ab` with its arguments and options, read from their signatures."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo

from simulator.cli import app


@dataclass(frozen=True)
class Parameter:
    """An argument or an option: how it is written, what it does, whether it must be there."""

    written: str
    text: str
    argument: bool
    required: bool

    @property
    def usage(self) -> str:
        """As the line of usage has it."""
        return self.written if self.required else f"[{self.written}]"


def page() -> str:
    """The page, one section per command."""
    head = "# Command line\n\nMade from the program by `make docs`; `laser-ab COMMAND --help` says the same."
    return "\n\n".join([head, str(app.info.help), *_sections(app, "laser-ab")]) + "\n"


def _sections(of: Any, path: str) -> Iterator[str]:
    for command in of.registered_commands:
        yield _section(f"{path} {command.name}", command.callback)
    for group in of.registered_groups:
        yield f"## {path} {group.name}\n\n{group.typer_instance.info.help}"
        yield from _sections(group.typer_instance, f"{path} {group.name}")


def _section(path: str, command: Callable[..., None]) -> str:
    parameters = list(_parameters(command))
    options = [each for each in parameters if not each.argument]
    usage = [each.usage for each in parameters if each.argument or each.required]
    if any(not each.required for each in options):
        usage.append("[OPTIONS]")
    listed = "\n".join(f"- `{each.written}`: {each.text}" for each in parameters)
    text = inspect.getdoc(command)
    return f"## {path}\n\n{text}\n\n```text\n{' '.join([path, *usage])}\n```\n\n{listed}".rstrip()


def _parameters(command: Callable[..., None]) -> Iterator[Parameter]:
    command = inspect.unwrap(command)
    defaults = inspect.signature(command).parameters
    hints = get_type_hints(command, include_extras=True)
    for name, default in ((name, parameter.default) for name, parameter in defaults.items()):
        kind, info = get_args(hints[name])[:2]
        # Typer's `Option("--set", ...)` inside Annotated: the first name stands where a default would.
        names = [each for each in (info.default, *(info.param_decls or ())) if str(each).startswith("-")]
        named = ", ".join(names or [f"--{name.replace('_', '-')}"])
        value = info.metavar or ("|".join(get_args(kind)) if get_origin(kind) is Literal else name.upper())
        argument = isinstance(info, ArgumentInfo)
        shown = "" if default in (None, False, inspect.Parameter.empty) else f" Default: `{default}`."
        yield Parameter(
            written=value if argument else named if kind is bool else f"{named} {value}",
            text=f"{info.help}{shown}",
            argument=argument,
            required=default is inspect.Parameter.empty,
        )
