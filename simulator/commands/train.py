"""`laser-ab train`: the models of an experiment, without the experiment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from simulator.commands.options import ALL_CORES, ConfigFile, Jobs, Json, Overrides, Quiet, Seed, out_option

# Of the held-out log, which is later than what was trained on; docs/metrics.md has the formulas.
_MEANING = {
    "auc": "clicked above not clicked, of all pairs",
    "gauc": "the same within each user, averaged over users",
    "log_loss": "surprise per impression; lower is better",
    "pcoc": "predicted over observed clicks; 1 is calibrated",
    "truth_weighted_auc": "AUC with the true click probabilities in the clicks' place",
}


def train(
    config: ConfigFile,
    overrides: Overrides = None,
    seed: Seed = None,
    out: Annotated[Path | None, out_option("runs/NAME-models (NAME: the experiment's)")] = None,
    jobs: Jobs = ALL_CORES,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train the models of an experiment file and save their checkpoints.

    Under torchrun the processes share every batch; the first one reports the result.
    """
    from simulator.commands.checked import load_checked
    from simulator.commands.output import print_json, progress
    from simulator.results.files import plain
    from simulator.results.run_folder import free_folder

    resolved = load_checked(config, overrides, seed, profiled=False)
    from laser.training.parallel import rank
    from simulator.arms.plan import make_plan  # after the checks, which should answer at once
    from simulator.arms.training import train_models
    from simulator.execution.interrupts import sigterm_as_ctrl_c

    plan = make_plan(resolved, profiled=False)
    folder = out or Path("runs") / f"{resolved.experiment.name}-models"
    first = rank() == 0
    if first:
        folder = free_folder(folder)
    with sigterm_as_ctrl_c(), progress(quiet or not first) as shown:
        trained = train_models(plan, folder, jobs=jobs, progress=shown)
    if not first:
        return
    models = [
        {
            "model": model.spec.kind,
            "history": model.spec.history,
            "checkpoint": str(model.path),
            "metrics": plain(model.metrics),
        }
        for model in sorted(trained.values(), key=lambda model: model.spec.key)
    ]
    if as_json:
        print_json({"models": models})
        return
    for entry in models:
        print(f"{entry['model']}, history {entry['history']}: {entry['checkpoint']}")
        found = entry["metrics"]
        for name, meaning in _MEANING.items():
            if name in found:
                print(f"  {name:<18} {_number(found[name]):<8} {meaning}{_between(found, name)}")
    print("\nUse one: laser-ab run CONFIG --set arms.NAME.checkpoint=FILE")


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


def _between(metrics: Mapping[str, float | None], name: str) -> str:
    """The interval of a metric that has one."""
    low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
    return "" if low is None or high is None else f" (95%: {low:.4f} to {high:.4f}, over users)"
