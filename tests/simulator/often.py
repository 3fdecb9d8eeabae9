"""`laser-ab` with a checkpoint at every opportunity, in its worker processes too: they import this file.

HOLD_AT, a pattern of paths, lets it go on behind a checkpoint so named only when it is asked to end: whoever
asks, or kills it, comes in time on any machine.
"""

import os
import time
from pathlib import Path
from typing import Any

from simulator.execution import checkpoints, interrupts

checkpoints.EVERY_S = 0.0
write = checkpoints.write


def write_and_hold(path: Path, *content: Any) -> None:
    write(path, *content)
    held = os.environ.get("HOLD_AT")
    while held and path.match(held) and not interrupts.asked():
        time.sleep(0.01)


checkpoints.write = write_and_hold

if __name__ == "__main__":
    from simulator.cli import main

    main()
