"""`laser-ab train`: the models of an experiment, without the experiment."""

from pathlib import Path
from typing import Any

from simulator.commands.options import ConfigFile, Jobs, Json, Out, Overrides, Quiet, Seed


def train(
    config: ConfigFile,
    overrides: Overrides = None,
    seed: Seed = None,
    out: Out = None,
    jobs: Jobs = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train the models of an experiment file and save their checkpoints."""
    from simulator.commands.output import print_json, progress
    from simulator.experiment.config import load_config
    from simulator.results.files import plain

    resolved = load_config(config, overrides or [], seed)
    from simulator.experiment.training import train_models  # after the checks, which should answer at once

    folder = out or Path("runs") / f"{resolved.experiment.name}-models"
    with progress(quiet) as told:
        models: dict[str, Any] = plain(train_models(resolved, folder, jobs=jobs, progress=told))
    if as_json:
        print_json({"models": models})
        return
    for name, facts in models.items():
        print(name)
        for key, value in facts.items() if isinstance(facts, dict) else [("", facts)]:
            print(f"  {key}: {value:.4f}" if isinstance(value, float) else f"  {key}: {value}")
    print("\nUse one: laser-ab run CONFIG --set arms.NAME.checkpoint=FILE")
