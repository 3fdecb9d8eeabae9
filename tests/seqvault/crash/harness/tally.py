"""What a run of the harness tried and what it found, for the table at its end."""

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_CRASH = re.compile(r"SIG(SEGV|BUS|ABRT|ILL|FPE)")
_LOST = re.compile(r"holds no state|survived|reported durable|was reported|is gone|acknowledged")


@dataclass
class Part:
    """One kind of failure: cases tried, acknowledged writes lost, wrong answers, crashed processes."""

    count: int = 0
    lost: int = 0
    wrong: int = 0
    crashes: int = 0
    wall_s: float = 0.0

    def failed(self, lines: Iterable[str]) -> None:
        """Note cases that broke the promise, by what they say."""
        for line in lines:
            if _CRASH.search(line):
                self.crashes += 1
            elif _LOST.search(line):
                self.lost += 1
            else:
                self.wrong += 1


PARTS: dict[str, Part] = {}


@contextmanager
def counted(name: str) -> Iterator[Part]:
    """Count the cases of a part; one that raises is a failure itself."""
    part = PARTS.setdefault(name, Part())
    start = time.perf_counter()
    try:
        yield part
    except Exception as error:
        part.count += 1
        part.failed([str(error)])
        raise
    finally:
        part.wall_s += time.perf_counter() - start


def table() -> list[str]:
    """The table, with a sum."""
    total = Part(*(sum(getattr(p, name) for p in PARTS.values()) for name in Part.__dataclass_fields__))
    lines = [f"{'part':<46}{'count':>9}{'lost':>6}{'wrong':>7}{'crashes':>9}{'seconds':>9}"]
    for name, part in {**PARTS, "all": total}.items():
        lines.append(
            f"{name:<46}{part.count:>9,}{part.lost:>6}{part.wrong:>7}{part.crashes:>9}{part.wall_s:>9.1f}"
        )
    return lines
