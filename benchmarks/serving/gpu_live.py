"""The `quick` world's experiment with live service times, on a GPU where there is one.

    python benchmarks/serving/gpu_live.py [--run DIR] [--quick] [--json] [--out FILE]

20,000 users, 100,000 requests: LastN + DIN-50 against SeqVault + LASER-1000. Store reads, transport and
scoring are real calls; the device is the first GPU, else the CPU (a row says which). `--quick` is
a small world.

`--run DIR` keeps the run folder. SIGINT (`timeout -s INT 540 python ...`) ends the work at a checkpoint, and
the same command continues it: a model is trained on from its last step, an arm that was being served is
served again. Exit status 130 says that there is more to do.
"""

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.result import Measured, bar, options, show
from benchmarks.serving.live_device import device_rows
from benchmarks.serving.live_phases import Phases
from benchmarks.serving.live_rows import experiment_rows
from laser.scoring.device import gpu_name
from simulator.arms.plan import make_plan
from simulator.config.load import ExperimentConfig, load_config
from simulator.execution.interrupts import Interrupted, stops_at_checkpoints
from simulator.experiment.run import resume_experiment, run_experiment
from simulator.results.read import read_run

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.toml"
SEED = 7
SMALL = ["traffic.preset=demo", "traffic.world.users=600", "traffic.world.requests=3000"]


def configured(quick: bool) -> ExperimentConfig:
    """The demo's design in the quick world, live."""
    settings = ["experiment.name=gpu-live", "experiment.service_times=live", "experiment.device=auto"]
    return load_config(DEMO, [*settings, *(SMALL if quick else ["traffic.preset=quick"])], environment={})


def measure(config: ExperimentConfig, folder: Path) -> Measured:
    """Run the experiment, or what is left of it, and look at what it left.

    Raises:
        Interrupted: that was asked for; the same call continues.
    """
    phases = Phases(folder.with_name(f"{folder.name}.phases.json"), config.arm_names)
    with phases.running():
        if (folder / "manifest.json").exists():
            resume_experiment(folder, jobs=1, progress=phases)
        else:
            run_experiment(config, folder, jobs=1, progress=phases)
    plan, run = make_plan(config, profiled=False), read_run(folder)
    rows: list[dict[str, Any]] = [{"device": gpu_name() or "cpu", "requests": len(plan.prepared.requests)}]
    start_s = time.perf_counter()
    worst, by_arm = device_rows(run, plan)
    rows += [*experiment_rows(run, by_arm), *phases.rows()]
    rows.append({"phase": "comparison, afterwards", "wall_s": time.perf_counter() - start_s})
    return rows, [bar("largest |p(device) - p(CPU)|", worst, 1e-3, better="lower")]


def command() -> int:
    """Parse, measure, print; 130 where there is more to do."""
    parser = options(__doc__)
    parser.add_argument("--run", type=Path, help="the run folder: made, or continued (else a temporary one)")
    args = parser.parse_args()
    with ExitStack() as stack:
        folder = args.run
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="laser-ab-gpu-"))) / "run"
        stack.enter_context(stops_at_checkpoints())
        try:
            measured = measure(configured(args.quick), folder)
        except Interrupted:
            print("Interrupted; the same command continues it, if --run named a folder.", file=sys.stderr)
            return 130
    show("gpu_live", SEED, args, measured)
    return 0


if __name__ == "__main__":
    sys.exit(command())
