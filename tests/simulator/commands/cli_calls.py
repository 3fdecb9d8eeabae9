"""`laser-ab` called here, and made-up run folders for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from simulator.cli import app
from simulator.results.run_folder import RunWriter

ROOT = Path(__file__).resolve().parents[3]
DEMO = str(ROOT / "examples" / "demo.toml")


def call(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def metric(
    lift: float, ci: tuple[float, float], role: str = "secondary", unit: str = "currency"
) -> dict[str, Any]:
    return {
        "control": 2.0, "treatment": 2.0 * (1 + lift), "unit": unit, "role": role, "lift": lift,
        "ci": list(ci), "level": 0.95, "method": "log-ratio, CUPED", "p_value": 0.2, "true_lift": 0.03,
        "true_se": 0.003, "mde": 0.05, "n": 9000,
    }  # fmt: skip


def scorecard(p99_ci: tuple[float, float] = (-0.1, 0.1), srm_p: float = 0.6) -> dict[str, Any]:
    metrics = {
        "advv_per_request": metric(0.03, (-0.01, 0.07), "primary"),
        "p99_ms": metric(sum(p99_ci) / 2, p99_ci, "guardrail", "ms"),
    }
    verdict = {"decision": "inconclusive", "text": "Cannot tell."}
    return {
        "schema_version": 2, "run": "a run", "status": "finished", "seed": 7, "service_times": "profile",
        "srm": {"p_value": srm_p, "expected": {"control": 505, "treatment": 505}}, "budget_ms": 20.0,
        "verdict": verdict,
        "arms": {
            "control": {"role": "control", "units": 500, "metrics": {}, "verdict": None},
            "treatment": {"role": "treatment", "units": 510, "metrics": metrics, "verdict": verdict},
        },
    }  # fmt: skip


def make_run(folder: Path, finish: bool = True, **changes: Any) -> Path:
    manifest = {"name": "a run", "seed": 7, "arms": [{"name": "control"}, {"name": "treatment"}]}
    with RunWriter.create(folder, manifest) as writer:
        writer.write_text("experiment.toml", "seed = 7\n")
        if finish:
            writer.write_scorecard(scorecard(**changes))
            writer.finish()
    return folder


def printed_by(command: Callable[[], None]) -> str:
    program = typer.Typer()
    program.command()(command)
    return CliRunner().invoke(program, []).stdout
