"""Logs whose mappings are shipped: `import_kuairand`, and `import_shipped` for any of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from simulator.logs.folder import check_free
from simulator.logs.table.importer import import_table
from simulator.logs.table.staging.load import load_mapping
from simulator.traffic.trace import TraceError

SHIPPED = Path(__file__).with_name("mappings")
OnProgress = Callable[[str, int, int], None]


def import_kuairand(folder: Path, out: Path, on_progress: OnProgress | None = None) -> dict[str, Any]:
    """Turn KuaiRand's published CSV files into a log folder.

    Args:
        folder: holds log_*.csv and video_features_basic*.csv, plain or .gz, itself or in `data/`. User
            features are not read.
        out: the log folder to write; nothing may be there.
        on_progress: called with (stage, done, total).

    Returns, raises:
        As `simulator.logs.table.importer.import_table`.

    Source: Gao et al., "KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed
    Videos", CIKM 2022 (arXiv:2208.08696). The data are CC BY-SA 4.0; so is the folder made from them.
    """
    check_free(out)
    return import_shipped("kuairand", folder, out, on_progress)


def import_shipped(
    name: str, folder: Path, out: Path, on_progress: OnProgress | None = None
) -> dict[str, Any]:
    """Import the files of a published log by its shipped mapping.

    Args:
        name: of the mapping; see `shipped_names`.
        folder: where the log's files are.
        out, on_progress: as in `import_table`.

    Raises:
        TraceError: no such folder; else as `import_table`.
    """
    if not folder.is_dir():
        raise TraceError(f"{folder} is not a folder, expected the unpacked log. Check the path.")
    return import_table(load_mapping(shipped(name), folder), out, on_progress)


def shipped(name: str) -> Path:
    """A mapping that comes with the simulator."""
    return SHIPPED / f"{name}.toml"


def shipped_names() -> list[str]:
    """The mappings that come with the simulator."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))
