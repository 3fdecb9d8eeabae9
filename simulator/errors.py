"""The base of the simulator's errors; each room names its own kind.

They say what was found, what was expected and what to do. Any other exception that leaves the simulator, a
shape that numpy refuses among them, is a defect, and the command line calls it one (`commands/errors.py`).
"""


class SimulatorError(ValueError):
    """Base of every error that is the user's to mend."""


def short(value: object) -> str:
    """A value as a message shows it: not a page of it."""
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python will print
        return "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."
