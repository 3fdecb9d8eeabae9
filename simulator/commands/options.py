"""Options that several commands share, so that a flag means the same everywhere."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer


def named(path: Path | None) -> Path | None:
    """Refuse a path under whose name nothing can be written, as "", "." or "/", or that is no text.

    Raises:
        typer.BadParameter: it is one.
    """
    if path is not None and path.name in ("", ".."):
        raise typer.BadParameter(f"found {str(path)!r}, expected a path that ends in a name of its own")
    if path is not None and not _is_text(path):
        raise typer.BadParameter(f"found {os.fsencode(path)!r}, expected a path that is UTF-8 text")
    return path


def _is_text(path: Path) -> bool:
    """Manifests and messages name folders: what is not text in them could not be read again."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The experiment file (TOML).")]
#: Of commands that may continue what is there in its place.
MaybeConfig = Annotated[Path | None, typer.Argument(metavar="CONFIG", help="The experiment file (TOML).")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the resolved file and what it would take, and stop.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Replace a value, as in arms.treatment.history=200. Repeatable."
    ),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Replace the file's seed.")]


def out_option(default: str) -> Any:
    """--out of a command that writes `default` without it."""
    help = f"The folder to write, {default} by default; with -2 and so on where that is taken."
    return typer.Option("--out", metavar="DIR", help=help, callback=named)


RUN_OUT = "runs/NAME (the experiment's)"


def _jobs(value: int | None) -> int:
    if value is None:
        # Not the machine's cores: those that this process may use.
        mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return mine or 1
    return value


# A callback gives the number where there is none: commands see an int.
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        min=1,
        callback=_jobs,
        envvar="LASER_AB_JOBS",
        help="Worker processes, as many as cores by default. Results do not depend on it.",
        show_default=False,
    ),
]
ALL_CORES: Any = None


def _engine(value: str | None) -> str | None:
    if value is not None:
        # For this process; what it means is said where it is read.
        os.environ["LASER_AB_ENGINE"] = value
    return value


def _address(value: str | None) -> str | None:
    if value is not None:
        os.environ["LASER_AB_RAY_ADDRESS"] = value
    return value


Engine = Annotated[
    Literal["processes", "ray"] | None,
    typer.Option(
        "--engine",
        callback=_engine,
        help="What trains, serves and judges cells: processes here (--jobs), or a Ray cluster.",
        show_default=False,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        callback=_address,
        help="Of the Ray cluster; one is begun here by default.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")]
FailOn = Annotated[
    str | None,
    typer.Option(
        "--fail-on",
        metavar="guardrail,srm",
        help="Exit 3 when a guardrail is shown to be broken, 4 on a sample ratio mismatch.",
    ),
]


def _bound(value: float | None) -> float | None:
    if value is not None:
        # For this process and its workers; what it means is said where it is read.
        os.environ["LASER_AB_CACHE_GB"] = str(value)
    return value


CacheGb = Annotated[
    float | None,
    typer.Option(
        "--cache-gb",
        min=0,
        callback=_bound,
        help="GB that scores and models kept between runs may take (LASER_AB_CACHE_GB, 20); 0 keeps none.",
    ),
]
