"""docs/api.md: the public names of the packages, from their sources and docstrings."""

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGES = ("simulator", "laser", "seqvault")
_HEAD = """# Python

Made from the docstrings by `make docs`. What is listed here is the promise; everything else may move.
"""
_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Source|Yields):( .*)?$")


def page() -> str:
    """The page: for each package its names in the order of the alphabet."""
    parts = [_HEAD]
    for package in PACKAGES:
        module = importlib.import_module(package)
        parts.append(f"## {package}\n\n{_prose(module.__doc__ or '')}")
        parts += [_entry(module, name) for name in module.__all__]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _entry(module: Any, name: str) -> str:
    value = getattr(module, name)
    head = f"### {name}\n\n"
    if inspect.isclass(value):
        return head + "\n\n".join(_class(value))
    if inspect.isfunction(value):
        return head + _code(_signature(_node(value))) + "\n\n" + _prose(value.__doc__ or "")
    return head + _constant(module, name)


def _class(value: type) -> Iterator[str]:
    yield _code(_construction(value))
    yield _prose(value.__doc__ or "")
    seen: set[str] = set()
    for each in _own(value):
        for node in _node(each).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.name not in seen:
                seen.add(node.name)
                kinds = {ast.unparse(decorator) for decorator in node.decorator_list}
                shown = f"{node.name}: {_unparsed(node.returns)}"
                yield _code(shown if kinds & {"property", "cached_property"} else _signature(node))
                yield _prose(ast.get_docstring(node) or "")


def _construction(value: type) -> str:
    """How an object is made: `__init__`, or the fields of a dataclass; nothing for an error or a protocol."""
    bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
    head = f"class {value.__name__}" + (f"({bases})" if bases else "")
    for each in _node(value).body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            call = _signature(each).replace("__init__(", f"{value.__name__}(")
            return f"{head}\n{call.partition(' -> ')[0]}"
    fields = [
        f"    {ast.unparse(each)}"
        for owner in reversed(_own(value))
        for each in _node(owner).body
        if isinstance(each, ast.AnnAssign)
    ]
    return "\n".join([head, *fields])


def _own(value: type) -> list[type]:
    """The class and those of its bases that are ours."""
    package = value.__module__.split(".")[0]
    return [each for each in value.__mro__ if each.__module__.split(".")[0] == package]


def _signature(node: ast.FunctionDef) -> str:
    """One line, or a line per parameter where that is too long."""
    result = f" -> {_unparsed(node.returns)}" if node.returns else ""
    stub = re.sub(r"^(self|cls)(, |$)", "", ast.unparse(node.args))
    line = f"{node.name}({stub}){result}"
    if len(line) <= 100:
        return line
    parts = re.split(r", (?=[*\w]+(?::|=|,|$))", stub)
    return f"{node.name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){result}"


def _unparsed(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):  # a name in quotes
        return node.value
    return "" if node is None else ast.unparse(node)


def _constant(package: Any, name: str) -> str:
    """A constant or an alias: its line, and the comment before it."""
    for path in sorted(Path(package.__file__).parent.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        lines = text.split("\n")
        for node in ast.parse(text).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                first = node.lineno - 1
                while lines[first - 1].startswith("#"):
                    first -= 1
                comment = " ".join(line.lstrip("#: ") for line in lines[first : node.lineno - 1])
                return f"{_code(ast.unparse(node))}\n\n{comment}"
    raise ValueError(f"{package.__name__}.{name}: found no assignment, expected one in its own folder.")


def _node(value: Any) -> Any:
    return ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def _prose(docstring: str) -> str:
    """A docstring as Markdown: its sections become lists, an entry per item."""
    out: list[str] = []
    section = False
    for line in inspect.cleandoc(docstring).split("\n"):
        heading = _SECTION.match(line)
        if heading:
            section = heading[2] is None
            out += ["", f"*{heading[1]}*:{heading[2] or ''}", *([""] if section else [])]
        elif section and line.startswith("    ") and not line.startswith("     "):
            out.append(f"- {line.strip()}")
        elif section and line.strip():
            out.append(f"  {line.strip()}")
        else:
            section = section and not line
            out.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).strip()
