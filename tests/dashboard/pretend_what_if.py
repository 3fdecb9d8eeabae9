"""Stands for `laser-ab what-if RUN --stdin`: ADVV's true lift is a hundredth of the budget."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "simulator" / "results"))
import made_runs


def answer(changes: dict) -> dict:
    if changes.get("arms.treatment.scorers", 1) > 9:
        return {"error": "found 10, expected at most 9"}
    arms = {"control": made_runs.control(), "treatment": made_runs.treatment()}
    budget_ms = changes.get("experiment.budget_ms", made_runs.BUDGET_MS)
    arms["treatment"]["metrics"]["advv_per_request"]["true_lift"] = budget_ms / 100
    return {"set": changes, "seconds": 0.5, "scored": 0, "scorecard": made_runs.scorecard(arms)}


def main(arguments: list[str]) -> int:
    if not Path(arguments[1]).is_dir():
        print(f"error: {arguments[1]}: no such folder", file=sys.stderr)
        return 1
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line)["set"])), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
