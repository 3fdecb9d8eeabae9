"""The benchmarks are a package whose scripts run by their path, and `make bench` runs every one."""

import ast
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "benchmarks").rglob("*.py"))


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {f"{n.module}.{a.name}" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}


def test_no_module_hides_a_library_from_the_scripts_beside_it() -> None:
    # The folder of a script that is run by its path comes first on the path.
    libraries = sys.stdlib_module_names | set(packages_distributions())
    assert [path for path in SOURCES if path.stem in libraries] == []


def test_make_bench_runs_every_script_that_measures() -> None:
    measuring = {"benchmarks.result.options", "benchmarks.result.main", "benchmarks.models.study_queue.save"}
    scripts = {str(path.relative_to(ROOT)) for path in SOURCES if imported(path) & measuring}
    done = subprocess.run(
        ["make", "--dry-run", "bench"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    (listed,) = (line for line in done.stdout.splitlines() if "for script in" in line)
    assert scripts == {word for word in listed.replace(";", " ").split() if word.startswith("benchmarks/")}
