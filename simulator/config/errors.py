"""What is wrong with an experiment file, shown where it was written: file, environment or command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from simulator.config.locate import Place
from simulator.errors import SimulatorError


@dataclass(frozen=True)
class Problem:
    """One thing to mend, or to know: a warning lets the experiment run.

    `source` names the file, the variable or the flag; `place`: in a file only.
    """

    message: str
    source: str
    place: Place | None = None
    line_text: str = ""
    help: str | None = None
    warning: bool = False

    def render(self) -> str:
        """As a compiler would: message, place, the line with a caret, and a suggestion."""
        lines = [f"{'warning' if self.warning else 'error'}: {self.message}"]
        if self.place is None:
            lines.append(f"  --> {self.source}")
        else:
            line, column = self.place.line, self.place.column
            gutter = " " * len(str(line))
            # Tabs stay tabs under the source line, so that the caret lands below its key.
            indent = "".join("\t" if c == "\t" else " " for c in self.line_text[: column - 1])
            lines += [
                f"{gutter} --> {self.source}:{line}:{column}",
                f"{line} | {self.line_text}",
                f"{gutter} | {indent}{'^' * self.place.width}",
            ]
        if self.help:
            lines.append(f"  help: {self.help}")
        return "\n".join(lines)


class ConfigError(SimulatorError):
    """An experiment file that cannot be used; `problems` holds everything found, in reading order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n\n".join(problem.render() for problem in problems))

    def __reduce__(self) -> tuple[Any, ...]:
        # Worker processes send errors home; the default would call this class with its message alone.
        return type(self), (self.problems,), self.__dict__
