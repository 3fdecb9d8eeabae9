"""`laser-ab` with a checkpoint at every opportunity, in its worker processes too: they import this file."""

from simulator.execution import checkpoints

checkpoints.EVERY_S = 0.0

if __name__ == "__main__":
    from simulator.cli import main

    main()
