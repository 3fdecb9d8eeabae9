"""Stands for `laser-ab run`: a run folder, kept at SIGTERM, finished when the file `go` is there."""

import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "simulator" / "results"))
import made_runs


def main(arguments: list[str]) -> int:
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    if "--resume" in arguments:
        writer = made_runs.RunWriter.reopen(Path(arguments[-1]))
    else:
        writer = made_runs.RunWriter.create(Path(arguments[-1]), made_runs.manifest())
        writer.write_text("experiment.toml", made_runs.EXPERIMENT)
    writer.stage("train", 300, 1200)
    print("at work", flush=True)
    go = writer.path.parent / "go"
    for _ in range(12_000):
        if asked:
            writer.abandon()
            return 130
        if go.exists():
            writer.write_scorecard(made_runs.scorecard())
            writer.finish()
            return 0
        time.sleep(0.05)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
