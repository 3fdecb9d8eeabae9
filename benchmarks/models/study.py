"""The model study: every model tuned with as many trials, judged on other worlds, and LASER taken apart.

    python benchmarks/models/study.py STAGE ... --work FOLDER [--drawn FOLDER] [--gpus N] [--each K]
        [--drawers N] [--jobs N] [--seconds S] [--users N] [--device auto] [--quick]

Stages: tune1, tune2 (the trials), order (all models, tuned), plain (all models, untuned), ablation (LASER
with one thing changed), length (trained short, served long), why (explanations put to the test), small (those
that a CPU can do), real, starts and reach (on logs that benchmarks/models/real_log.py put into --drawn,
without trials), write. study_plan.py and study_real.py say what each trains; "plain:0" is the part of
training seed 0, and stages joined by + go through the worlds together. `write` counts operations and writes
model_study_tuning.json, model_study.json and model_study_real.json, as far as there are rows, with machine,
versions and commit, into --out.

--work is where rows are kept, one per line: trainings that it has are not done again, so several calls, each
of at most --seconds, make one study; exit status 130 says that trainings are missing, any other but
0 that something broke. On N GPUs, K processes each take trainings from one queue; others draw the worlds into
--drawn.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.models.study_plan import (
    MODELS,
    Settings,
    Training,
    ablations,
    first_stage,
    lengths,
    order,
    plain,
    second_stage,
    settings_of,
    shrunk,
    small,
    trial_settings,
    why,
)
from benchmarks.models.study_queue import Queue, WorkError, keys_of, save
from benchmarks.models.study_real import reach, real, starts
from benchmarks.models.world_files import forget_failure

TUNING = ("tune1", "tune2")
WRITE = "write"
JUDGED = {
    "order": order,
    "plain": plain,
    "ablation": ablations,
    "length": lengths,
    "why": why,
    "small": small,
}
#: Stages that need no trials.
REAL = {"real": real, "starts": starts, "reach": reach}
QUICK_USERS = 300
PYTHON = (sys.executable, "-m")  # a module of the project in a process of its own
MORE = 130  # exit status: trainings are missing


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stages", nargs="*", help="as above; all with --quick")
    parser.add_argument("--work", type=Path, default=Path("model-study"))
    parser.add_argument("--drawn", type=Path, help="where worlds are put; in --work by default")
    parser.add_argument("--out", type=Path, help="folder of the results; --work by default")
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--each", type=int, default=1, help="processes on each GPU")
    parser.add_argument("--drawers", type=int, default=1, help="worlds drawn at a time; 0: elsewhere")
    parser.add_argument("--jobs", type=int, default=1, help="processes that draw one world")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no training after these")
    parser.add_argument("--only", help="trainings whose description contains this")
    parser.add_argument("--users", type=int, help="of each world; the preset's by default")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quick", action="store_true", help="tiny worlds and short histories, two a stage")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.stages = args.stages or (["tune1", "tune2", "+".join(JUDGED), WRITE] if args.quick else [])
    known = [*TUNING, *JUDGED, *REAL, WRITE]
    names = [stage.partition(":")[0] for text in args.stages for stage in text.split("+")]
    seeds = [stage.partition(":")[2] or "0" for text in args.stages for stage in text.split("+")]
    alone = all(text == WRITE for text in args.stages if WRITE in text)
    if {*names} - {*known} or not args.stages or not alone:
        parser.error(f"found stages {args.stages}, expected some of {known}, {WRITE} on its own")
    if not all(seed.isdecimal() for seed in seeds):
        parser.error(f"found stages {args.stages}, expected a training seed behind each colon")
    if min(args.gpus, args.each, args.jobs) < 1 or args.drawers < 0:
        parser.error("--gpus, --each and --jobs are 1 or more, --drawers 0 or more")
    args.write = WRITE in args.stages
    args.groups = [text.split("+") for text in args.stages if text != WRITE]
    args.users = QUICK_USERS if args.quick and args.users is None else args.users
    args.drawn = args.drawn or args.work / "worlds"
    args.out = args.out or args.work
    return args


def plan(stage: str, args: argparse.Namespace, rows: list[dict[str, Any]]) -> list[Training]:
    """The trainings of a stage; some need the rows of earlier ones."""
    name, _, seed = stage.partition(":")
    if name == "tune1":
        found = list(first_stage())
    elif name == "tune2":
        if missing := {t.key for t in asked(list(first_stage()), args)} - keys_of(rows):
            raise WorkError(f"{len(missing)} trials of tune1 are missing in {args.work}. Run tune1 first.")
        found = list(second_stage(rows))
    elif name in REAL:
        found = list(REAL[name]())
    else:
        found = list(JUDGED[name](chosen(rows, args.quick)))
    return asked([training for training in found if seed in ("", str(training.train_seed))], args)


def chosen(rows: list[dict[str, Any]], quick: bool) -> Settings:
    """The settings that the trials found; a first look tries few models, and takes the rest as they are.

    Raises:
        WorkError: a model has no trial on every tuning world.
    """
    tried = tuple(dict.fromkeys(row["model"] for row in rows if row["part"] == "tuning")) if quick else MODELS
    try:
        return {model: trial_settings(model, 0) for model in MODELS} | settings_of(rows, tuple(tried))
    except ValueError as error:
        raise WorkError(str(error)) from error


def asked(trainings: list[Training], args: argparse.Namespace) -> list[Training]:
    """Those that the command line leaves."""
    if args.quick:
        trainings = shrunk(trainings)
    return [training for training in trainings if args.only is None or args.only in str(training)]


def by_world(trainings: list[Training]) -> list[Training]:
    """World by world, in the order in which worlds first come up."""
    worlds = list(dict.fromkeys((t.world, t.world_seed) for t in trainings))
    return sorted(trainings, key=lambda t: worlds.index((t.world, t.world_seed)))


def work(args: argparse.Namespace) -> bool:
    """What each process does: take trainings until there are none; False when time ran out before."""
    from benchmarks.models.study_train import Trainer

    queue = Queue(args.work, args.seconds)
    trainer = Trainer(args.drawn, args.users, args.device)
    for stages in args.groups:
        trainings = by_world([t for stage in stages for t in plan(stage, args, queue.rows())])
        for training in queue.taken(trainings):
            rows = trainer.rows(training)
            queue.add(rows)
            scored = "failed" if "failed" in rows[0] else f"{rows[0]['sauc'] or rows[0]['auc']:.5f}"
            print(
                f"{training}: {scored} after {queue.elapsed_s():.0f} s",
                file=sys.stderr,
                flush=True,
            )
        if not queue.wait_for(trainings):
            return False
    return True


def drawing(args: argparse.Namespace) -> list[subprocess.Popen[bytes]]:
    """Processes that draw all worlds of the stages, each every n-th."""
    if args.drawers:
        forget_failure(args.drawn)
    needed: dict[tuple[str, int], None] = {}
    for stage in (text.partition(":")[0] for group in args.groups for text in group):
        # What a later stage trains is not known yet, but its worlds are: settings do not choose them.
        needed |= dict.fromkeys((t.world, t.world_seed) for t in asked(worlds_of(stage), args))
    texts = [f"{world}:{seed}" for world, seed in needed]
    started = []
    for i in range(args.drawers):
        if texts[i :: args.drawers]:
            command = [*PYTHON, "benchmarks.models.world_files", str(args.drawn), *texts[i :: args.drawers]]
            command += ["--jobs", str(args.jobs)]
            command += [] if args.users is None else ["--users", str(args.users)]
            started.append(subprocess.Popen(command))
    return started


def worlds_of(stage: str) -> list[Training]:
    """Trainings of a stage under any settings: good for their worlds alone."""
    if stage == "tune1":
        return list(first_stage())
    if stage == "tune2":
        some = [{"part": "tuning", "stage": 1, "model": model, "trial": 0, "sauc": 0.5} for model in MODELS]
        return list(second_stage(some))
    if stage in REAL:
        return list(REAL[stage]())
    return list(JUDGED[stage]({model: trial_settings(model, 0) for model in MODELS}))


def command() -> int:
    """Train what is missing, write what there is; 130 where there is more to do."""
    args = parsed()
    try:
        args.work.mkdir(parents=True, exist_ok=True)
        if args.worker:
            return 0 if work(args) else MORE
        code = trained(args) if args.groups else 0
        if args.write:
            save(args.work, args.out, args.quick, args.users, args.drawn)
    except KeyboardInterrupt:
        return MORE
    except (WorkError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    return code


def trained(args: argparse.Namespace) -> int:
    """Start the processes and wait for them; the worst of their exit statuses."""
    start_s = time.perf_counter()
    Queue.open(args.work)
    Queue(args.work, 0).rows()  # a broken file is reported once, before anything starts
    drawers, workers = drawing(args), list[subprocess.Popen[bytes]]()
    try:
        for i in range(args.gpus * args.each):
            own = os.environ | {"CUDA_VISIBLE_DEVICES": str(i % args.gpus)} if args.gpus > 1 else os.environ
            command = [*PYTHON, "benchmarks.models.study", *sys.argv[1:], "--worker"]
            workers.append(subprocess.Popen(command, env=dict(own)))
        code = ended(workers, Queue(args.work, 0))
    finally:
        for process in (*drawers, *workers):
            process.kill()
    rows = Queue(args.work, 0).rows()
    print(f"{len(rows)} rows after {time.perf_counter() - start_s:.0f} s", file=sys.stderr)
    return code


def ended(workers: list[subprocess.Popen[bytes]], queue: Queue) -> int:
    """Wait for all; where one breaks, the others do what they can without its rows.

    Returns:
        0, 130 where trainings are missing, or the status of one that broke, whatever the others say.
    """
    while any(worker.poll() is None for worker in workers):
        if any(worker.returncode not in (None, 0, MORE) for worker in workers):
            queue.broken()
        time.sleep(0.5)
    codes = [int(worker.returncode) for worker in workers]
    return max(codes, key=lambda code: (code not in (0, MORE), abs(code)))


if __name__ == "__main__":
    # A stop by `kill`, too, ends the processes that were started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(command())
