"""`laser-ab cache`: what runs keep for each other on this machine."""

from datetime import datetime
from typing import TYPE_CHECKING

from simulator.commands.options import Json
from simulator.errors import SimulatorError

if TYPE_CHECKING:
    from simulator.execution.cache import Cache


def show(as_json: Json = False) -> None:
    """List kept scores and trained models, the most recently used first."""
    from dataclasses import asdict

    from simulator.commands.output import print_json

    cache = _cache()
    entries = cache.entries()
    held = sum(entry.bytes for entry in entries)
    if as_json:
        size = {"folder": str(cache.folder), "bytes": held, "most_bytes": cache.most_bytes}
        print_json({**size, "entries": [asdict(entry) for entry in entries]})
        return
    for entry in entries:
        used = datetime.fromtimestamp(entry.used_s).isoformat(" ", "minutes")
        about = ", ".join(f"{name} {value}" for name, value in entry.about.items())
        print(f"{entry.kind:<7} {entry.bytes / 1e6:10,.1f} MB  used {used}  {about}")
    print(f"{cache.folder}: {held / 1e9:.2f} of {cache.most_bytes / 1e9:g} GB in {len(entries)} files")


def clear() -> None:
    """Let all kept scores and trained models go; running experiments are not disturbed."""
    cache = _cache()
    held = cache.clear()
    print(f"{cache.folder}: let {held / 1e9:.2f} GB go.")


def _cache() -> "Cache":
    from simulator.execution.cache import BOUND_VARIABLE, open_cache

    cache = open_cache()
    if cache is None:
        raise SimulatorError(
            f"{BOUND_VARIABLE} is 0: nothing is kept between runs. Set it to some GB, or leave it out."
        )
    return cache
