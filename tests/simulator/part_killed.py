"""`laser-ab` that goes through a trace in small parts and is killed by signal 9 at the n-th: n is KILL_AT.

Parts are those of the market's passes, then those of the tables.
"""

import os
import signal
from collections.abc import Callable
from typing import Any

from simulator.experiment import outcomes

outcomes._ROWS = 16
outcomes.ROW_GROUP_ROWS = 64
left = int(os.environ["KILL_AT"])


def counted(work: Callable[..., Any]) -> Callable[..., Any]:
    def part(*arguments: Any) -> Any:
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return work(*arguments)

    return part


outcomes.Market._part = counted(outcomes.Market._part)  # type: ignore[method-assign]
outcomes.World.means = counted(outcomes.World.means)  # type: ignore[method-assign]
outcomes.KeptPages.take = counted(outcomes.KeptPages.take)  # type: ignore[method-assign]

if __name__ == "__main__":
    from simulator.cli import main

    main()
