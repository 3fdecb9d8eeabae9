"""The rooms of the code, read from its folders: what each holds, and which others it imports.

A room is a folder of modules. The folders in DOORS count as two: a ground floor, on which their subfolders
stand, and a front door (public names, command line), which may import them all.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("seqvault", "laser", "simulator", "dashboard", "benchmarks")

# A room may import those above it in this list and no others.
ORDER = (
    "seqvault",
    "seqvault/lastn",
    "seqvault/vault/format",
    "seqvault/vault/disk",
    "seqvault/vault/log",
    "seqvault/vault/kernels",
    "seqvault/vault/kernels/reads",
    "seqvault/vault/compiled",
    "seqvault/vault/sealed",
    "seqvault/vault/reading",
    "seqvault/vault/engine",
    "seqvault/vault/care",
    "seqvault/vault (door)",
    "laser",
    "laser/attention/kernels",
    "laser/attention",
    "laser/models/heads",
    "laser/models",
    "laser/scoring",
    "laser/training",
    "laser (door)",
    "simulator",
    "simulator/results",
    "simulator/results/answers",
    "simulator/results/beside",
    "simulator/traffic",
    "simulator/world",
    "simulator/logs",
    "simulator/config",
    "simulator/logs/table/staging",
    "simulator/logs/table",
    "simulator/logs/calibration",
    "simulator/serving",
    "simulator/market",
    "simulator/analysis",
    "simulator/analysis/health",
    "simulator/analysis/breakdown",
    "simulator/outside",
    "simulator/certificate",
    "simulator/inputs",
    "simulator/execution",
    "simulator/arms/histories",
    "simulator/arms",
    "simulator/arms/profiling",
    "simulator/experiment",
    "simulator/designs",
    "simulator/whatif",
    "simulator/commands",
    "simulator/commands/logs",
    "simulator/commands/statistics",
    "simulator/commands/whatif",
    "simulator (door)",
    "dashboard/work",
    "dashboard",
    "dashboard/sections",
    "dashboard/app_pages",
    "benchmarks",
    "benchmarks/stores/harness",
    "benchmarks/stores",
    "benchmarks/models",
    "benchmarks/serving",
    "benchmarks/inference",
    "benchmarks/simulation",
    "benchmarks/dashboard",
    "benchmarks/pages",
    "benchmarks/paper",
)
DOORS = {
    "seqvault/vault (door)": "The store itself, `SeqVault`, over all of its rooms.",
    "laser (door)": "The public names; model checkpoints and the count of operations, which need the models.",
    "simulator (door)": "The public names (`api.py`) and the command line (`cli.py`).",
}


@cache
def modules() -> Mapping[str, Path]:
    """Dotted name -> file of every module."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in paths
    }


@cache
def imports() -> Mapping[str, frozenset[str]]:
    """Module -> the modules it imports, also inside functions; not those that only a type checker reads."""
    return {name: frozenset(_imported(path) - {name}) for name, path in modules().items()}


def _imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in _running(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        names: Iterable[str] = ()
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            while name and name not in modules():
                name = name.rpartition(".")[0]
            found |= {name} - {""}
    return found


def _running(node: ast.AST) -> Iterable[ast.AST]:
    """The nodes of a file that run: all but the bodies of `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")):
            yield child
            yield from _running(child)


@cache
def rooms() -> Mapping[str, str]:
    """Module -> its room."""
    return {name: _room(name) for name in modules()}


def _room(name: str) -> str:
    folder = _folder(name)
    door = f"{folder} (door)"
    if door not in DOORS:
        return folder
    deeper = any(_folder(other).startswith(f"{folder}/") for other in reached(name))
    return door if deeper or _is_lazy_face(name) else folder


def _folder(name: str) -> str:
    return str(modules()[name].parent.relative_to(ROOT))


def _is_lazy_face(name: str) -> bool:
    """Whether a package imports its names only when asked for, which the file's imports do not show."""
    path = modules()[name]
    return path.name == "__init__.py" and "def __getattr__" in path.read_text(encoding="utf-8")


@cache
def reached(name: str) -> frozenset[str]:
    """The modules that importing one leads to, itself left out."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        new = imports()[waiting.pop()] - found
        found |= new
        waiting += new
    return frozenset(found - {name})


def arrows() -> dict[str, dict[str, list[str]]]:
    """Room -> room it imports -> the imports, as "module -> module"."""
    found: dict[str, dict[str, list[str]]] = {room: {} for room in dict.fromkeys(rooms().values())}
    for name, others in imports().items():
        for other in sorted(others):
            here, there = rooms()[name], rooms()[other]
            if here != there:
                found[here].setdefault(there, []).append(f"{name} -> {other}")
    return found


def circles() -> list[str]:
    """Modules that importing leads back to."""
    return [name for name, others in imports().items() if any(name in reached(other) for other in others)]


def files_in(folder: str) -> int:
    """Modules directly in a folder, its `__init__` not counted."""
    return sum(_folder(name) == folder and path.name != "__init__.py" for name, path in modules().items())


def folders() -> list[str]:
    """Every folder of modules."""
    return list(dict.fromkeys(_folder(name) for name in modules()))


def tables() -> str:
    """The rooms of each package, in the order in which they stand on each other, as Markdown tables.

    That a room imports its package's ground floor goes without saying.
    """
    found = arrows()
    lines = []
    for package in PACKAGES:
        lines += [f"\n**{package}**\n", "| room | holds | start at | imports |", "|---|---|---|---|"]
        for room in ORDER:
            if room.split("/")[0].removesuffix(" (door)") == package:
                others = [other for other in ORDER if other in found[room] and other != package]
                names = ", ".join(_called(other, package) for other in others)
                lines.append(f"| {_called(room, package)} | {holds(room)} | {start(room)} | {names} |")
    return "\n".join(lines)[1:] + "\n"


def _called(room: str, package: str) -> str:
    """A room's name in a package's table; that of another package's room begins with the package."""
    name = room.removesuffix(" (door)")
    shown = name if name == package else name.removeprefix(f"{package}/")
    return f"`{shown}/` (door)" if room in DOORS else f"`{shown}/`"


def holds(room: str) -> str:
    """What a room's `__init__` says that it holds, in its first sentence."""
    if room in DOORS:
        return DOORS[room]
    return " ".join(docstring(room).split("\n\n")[0].split()).partition(" Start at `")[0]


def start(room: str) -> str:
    """The module with which a room's `__init__` says that reading should begin."""
    if room in DOORS:
        return ""
    found = re.search(r"Start at (`[^`]+`)", docstring(room))
    return found[1] if found else ""


def docstring(folder: str) -> str:
    """Of a folder's `__init__`."""
    return ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text(encoding="utf-8"))) or ""
