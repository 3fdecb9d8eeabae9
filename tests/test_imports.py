"""Who may import whom: read from the sources, and tried in fresh interpreters."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("seqvault", "laser", "simulator", "dashboard")
STANDARD = frozenset(sys.stdlib_module_names)

# An outside library -> the only folders that may import it.
HOMES = {
    "zstandard": ("seqvault",),
    "rocksdict": ("seqvault",),
    "torch": ("laser",),
    "triton": ("laser",),
    "simpy": ("simulator/serving",),
    "streamlit": ("dashboard",),
    "altair": ("dashboard",),
    "numba": ("seqvault", "simulator"),
}
# A folder -> the project's own modules it may import, besides itself.
ALLOWED = {
    "seqvault": (),
    "laser": (),
    "simulator": ("laser", "seqvault"),
    "dashboard": ("simulator.results",),
}


def imports_of(path: Path) -> set[str]:
    """Dotted names of every import of a file, also inside functions; `from a import b` gives a and a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                folder = path.relative_to(ROOT).parts[: -node.level]
                base = ".".join([*folder, *([base] if base else [])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_in_the_permitted_direction(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources(package)
        for module in imports_of(path)
        if module.split(".")[0] in PACKAGES
        # `from simulator import results` also yields the bare parent.
        and not any(within(module, other) for other in (package, *ALLOWED[package]))
        and not any(within(other, module) for other in ALLOWED[package])
    ]
    assert wrong == []


@pytest.mark.parametrize("library", HOMES)
def test_heavy_libraries_stay_in_their_homes(library: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {library}"
        for package in PACKAGES
        for path in sources(package)
        if any(within(module, library) for module in imports_of(path))
        and not any(path.is_relative_to(ROOT / home) for home in HOMES[library])
    ]
    assert wrong == []


def test_numba_is_not_used_where_numpy_must_do() -> None:
    paths = [*sources("laser"), *sources("simulator/world")]
    assert [path for path in paths if any(within(module, "numba") for module in imports_of(path))] == []


@pytest.mark.parametrize(
    ("folder", "libraries"),
    [("laser", {"torch", "triton", "numpy"}), ("simulator/world", {"numpy"})],
)
def test_small_packages_need_no_other_library(folder: str, libraries: set[str]) -> None:
    outside = {
        module.split(".")[0]
        for path in sources(folder)
        for module in imports_of(path)
        if module.split(".")[0] not in STANDARD and module.split(".")[0] not in PACKAGES
    }
    assert outside <= libraries


@pytest.mark.parametrize("folder", ["simulator/world", "simulator/traffic", "simulator/results"])
def test_layers_of_the_simulator_do_not_reach_up(folder: str) -> None:
    layers = (
        "simulator.experiment",
        "simulator.whatif",
        "simulator.commands",
        "simulator.cli",
        "simulator.serving",
    )
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources(folder)
        for module in imports_of(path)
        if any(within(module, layer) for layer in layers)
    ]
    assert wrong == []


def fresh(program: str) -> None:
    """Run a program in a new interpreter; its failure is the test's."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("simulator", "torch streamlit simpy numba scipy pyarrow pandas pydantic numpy"),
        ("laser", "torch numpy"),
        ("seqvault", "torch simpy numba zstandard rocksdict pyarrow pandas"),
        ("simulator.cli", "torch streamlit simpy numba zstandard rocksdict scipy pyarrow pandas"),
        ("simulator.config.load", "torch streamlit simpy numba zstandard rocksdict scipy pyarrow"),
        ("simulator.results.report", "torch streamlit simpy zstandard rocksdict"),
        ("dashboard", "torch simpy zstandard rocksdict"),
    ],
)
def test_light_modules_load_nothing_heavy(module: str, absent: str) -> None:
    fresh(
        f"import sys, {module}\n"
        f"heavy = set({absent!r}.split()) & set(sys.modules)\n"
        "assert not heavy, f'loaded {heavy}'"
    )


@pytest.mark.parametrize(
    ("package", "module"), [("laser", "laser"), ("simulator/world", "simulator.world.world")]
)
def test_small_packages_load_with_the_other_libraries_missing(package: str, module: str) -> None:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sources(package)
    ]
    assert module in names
    others = (
        "pydantic typer rich scipy pandas pyarrow duckdb zstandard rocksdict simpy numba streamlit seqvault"
    )
    fresh(
        "import importlib, sys\n"
        f"for name in {others!r}.split() + {['torch'] if package != 'laser' else []!r}:\n"
        "    sys.modules[name] = None  # importing it now raises ImportError\n"
        f"for name in {names!r}:\n"
        # A kernel's module needs a compiler that laptops lack; the package must do without it.
        "    if '.kernels' not in name: importlib.import_module(name)\n"
    )


def test_a_seqvault_works_with_numpy_numba_and_zstandard_alone(tmp_path: Path) -> None:
    needed = {"seqvault", "numpy", "numba", "llvmlite", "zstandard", "_cffi_backend"}
    fresh(
        "import sys\n"
        f"allowed = set(sys.stdlib_module_names) | {needed!r}\n"
        "class Others:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] not in allowed:\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Others())\n"
        "from seqvault import BEHAVIOURS, SeqVault\n"
        f"with SeqVault({str(tmp_path / 'store')!r}, codec='zstd') as store:\n"
        "    store.append([7], {name: [1] for name in BEHAVIOURS.names})\n"
        "    store.seal()\n"
        "    assert store.read_last([7], 5).lengths.tolist() == [1]\n"
        "    assert not store.stats()['plain']\n"
    )
