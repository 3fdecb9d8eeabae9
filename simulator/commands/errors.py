"""Exceptions become messages and exit codes here, and nowhere else.

    0  done
    1  failed: damaged files, a full disk, no memory
    2  wrong usage, or an experiment file that cannot be used
    3  a guardrail failed (--fail-on guardrail)
    4  sample ratio mismatch (--fail-on srm)
    70  a defect of laser-ab; the traceback is shown
    130  interrupted

Whatever a user can mend derives from the base of its package's errors: SimulatorError, LaserError or
StoreError. The system's own (no file, no room, no memory) are explained here. Everything else is a defect, a
plain ValueError too, as numpy and torch raise it for shapes that disagree. LASER_AB_DEBUG=1 adds the
traceback to every error.
"""

import errno
import functools
import math
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

import typer

FAILURE, USAGE, GUARDRAIL, SRM, INTERRUPTED = 1, 2, 3, 4, 130
DEFECT = 70  # EX_SOFTWARE of sysexits.h

P = ParamSpec("P")
R = TypeVar("R")


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command: every exception ends in a message on stderr and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            _refuse_endless(command, kwargs)
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise  # typer's own: exit codes and usage errors
        except (Exception, KeyboardInterrupt) as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # the reader of our pipe has left; typer ends quietly
            message, code = explain(error)
            if code == DEFECT or os.environ.get("LASER_AB_DEBUG"):
                traceback.print_exc()
            print("\n".join([message, *getattr(error, "__notes__", ())]), file=sys.stderr)
            raise typer.Exit(code) from error

    return run


def _refuse_endless(command: Callable[..., object], options: Mapping[str, object]) -> None:
    """No option means anything by nan or infinity; a range lets nan pass, which is on no side of a bound.

    Raises:
        typer.BadParameter: one is.
    """
    for name, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):
            stated = getattr(command.__annotations__[name], "__metadata__", [None])[0]
            # Within Annotated typer keeps an option's name where its default would be.
            own = getattr(stated, "default", None)
            flag = own if isinstance(own, str) else f"--{name.replace('_', '-')}"
            raise typer.BadParameter(f"found {value}, expected a number", param_hint=flag)


def explain(error: BaseException) -> tuple[str, int]:
    """The message for the user, and the exit code."""
    # Here, so that `--help` need not load the configuration's models.
    from laser.errors import LaserError
    from seqvault.errors import StoreError
    from simulator.config.errors import ConfigError
    from simulator.errors import SimulatorError

    if isinstance(error, KeyboardInterrupt):
        command = getattr(error, "command", None)
        if command is None:
            return "\ninterrupted: there is nothing to continue. The same command begins anew.", INTERRUPTED
        return f"\ninterrupted: what was computed is kept. Continue it:\n  {command}", INTERRUPTED
    if isinstance(error, ConfigError):
        return str(error), USAGE
    if isinstance(error, (SimulatorError, LaserError, StoreError)):
        return f"error: {error}", FAILURE
    if isinstance(error, MemoryError):
        return (
            "error: out of memory. Use fewer --jobs, a smaller world (--set traffic.world.users=...) "
            "or shorter histories (--set arms.NAME.history=...).",
            FAILURE,
        )
    if isinstance(error, OSError):
        return f"error: {_explain_os(error)}", FAILURE
    return (
        f"error: {type(error).__name__}: {error}\n"
        "This is a defect of laser-ab, not of your files. Please report it with the lines above.",
        DEFECT,
    )


def _explain_os(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}the disk is full. Free some space, or choose another place with --out."
    if isinstance(error, PermissionError):
        return f"{where}permission denied. Ask its owner for it, or choose another place."
    if isinstance(error, FileNotFoundError):
        return f"{where}not found. Check the path."
    return f"{where}{error.strerror or error}. Check the path and the disk."
