"""`laser-ab store`: verify, look at, measure, copy and tidy a SeqVault folder.

All but `make`, `load`, `migrate`, `delete` and `compact` only read, and work while another process writes to
the store.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from simulator.commands.options import Json, Quiet, named

if TYPE_CHECKING:
    from seqvault.vault.store import SeqVault
    from simulator.commands.store_dump import Dumped, Form

Folder = Annotated[Path, typer.Argument(metavar="PATH", help="The folder of a SeqVault store.")]
SequenceName = Annotated[
    str | None, typer.Option("--sequence", metavar="NAME", help="One of several sequences; else the first.")
]

# What others call these commands.
_MEANT = {"verify": "check", "fsck": "check", "info": "stats", "export": "dump", "backup": "snapshot"}


class StoreGroup(TyperGroup):
    """`laser-ab store`, with a hint for the names that its commands have elsewhere."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As click does. Raises UsageError for a command there is not."""
        if args[0] in _MEANT:
            ctx.fail(f"No such command '{args[0]}'. Did you mean '{_MEANT[args[0]]}'?")
        return super().resolve_command(ctx, args)


def make(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A new folder.")],
    users: Annotated[int, typer.Option("--users", min=1, max=100_000, help="Whose histories to draw.")] = 500,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the draws.")] = 0,
) -> None:
    """Make a small SeqVault store of drawn histories, to try the other commands on.

    Runs keep no stores: an arm's is filled from the world each time.
    """
    from seqvault.vault.store import SeqVault
    from simulator.commands.store_sample import sample

    if path.exists():
        raise typer.BadParameter(f"found {path}; expected a path where nothing is yet", param_hint="PATH")
    drawn = sample(users, seed)
    with _nothing_left_of(path), SeqVault(path) as store:
        store.bulk_load(*drawn)
    print(f"Store: {path}")
    print(f"{len(drawn[0]):,} behaviours of {users:,} users. Look at it:")
    print(f"  laser-ab store stats {quote(str(path))}")


def check(path: Folder, as_json: Json = False, quiet: Quiet = False) -> None:
    """Read and verify every file; exit 1 where something is damaged.

    Says which file and block, what can still be read, and how to mend it.
    """
    from seqvault.vault.care.check import check_store
    from simulator.commands.output import print_json, progress
    from simulator.commands.store_report import check_lines

    with progress(quiet) as shown:
        report = check_store(path, lambda done, total: shown.stage("files", done, total))
    if as_json:
        print_json(report.to_dict())
    else:
        print("\n".join(check_lines(report)))
    if not report.sound:
        raise typer.Exit(1)


def stats(
    path: Folder,
    as_json: Json = False,
    as_metrics: Annotated[
        bool, typer.Option("--prometheus", help="In the text form that Prometheus reads.")
    ] = False,
) -> None:
    """Counts and sizes: users, behaviours, bytes on disk and in memory."""
    from simulator.commands.output import print_json
    from simulator.commands.store_report import stats_lines

    with _opened(path) as store:
        if as_metrics and not as_json:
            print(store.metrics(), end="")
            return
        found, sequences = store.stats(), store.sequences
    if as_json:
        print_json({"store": str(path), "sequences": [kind.name for kind in sequences], **found})
    else:
        print("\n".join(stats_lines(sequences, found)))


def bench(
    path: Folder,
    sequence: SequenceName = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws the users to read.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Time this store's reads here: newest 200, 1,000, 10,000 and whole histories, warm, one thread."""
    from seqvault.vault.care.bench import measure_reads
    from simulator.commands.output import print_json, progress
    from simulator.commands.store_report import print_figures

    with progress(quiet) as shown, _opened(path) as store:
        figures = measure_reads(
            store,
            sequence=sequence,
            seed=seed,
            on_progress=lambda done, total: shown.stage("sizes", done, total),
        )
    if as_json:
        print_json({"store": str(path), "reads": [vars(one) for one in figures]})
    elif figures:
        print_figures(figures)
    else:
        print("The store is empty: there is nothing to read.")


def dump(
    path: Folder,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write there; else to stdout.", callback=named),
    ] = None,
    form: Annotated[
        Literal["parquet", "csv", "jsonl"] | None,
        typer.Option("--format", help="By the ending of --out if not given, or jsonl."),
    ] = None,
    users: Annotated[
        list[int] | None,
        typer.Option("--user", metavar="ID", min=0, max=2**64 - 1, help="Only this user. Repeatable."),
    ] = None,
    sequence: SequenceName = None,
    skip_damaged: Annotated[
        bool,
        typer.Option("--skip-damaged", help="Leave out users whose bytes are damaged; name them, exit 1."),
    ] = False,
) -> None:
    """Write histories as a table: one row per behaviour, users ascending, oldest first."""
    from simulator.commands.store_dump import dump as write
    from simulator.commands.store_dump import form_of

    chosen = form or form_of(out)
    _refuse_out(path, out, chosen)
    with _opened(path) as store:
        ids = sorted(set(users)) if users else store.users(sequence).tolist()
        found: list[Dumped] = []

        def put(file: IO[bytes]) -> None:
            found.append(write(store, ids, chosen, file, sequence=sequence, skip_damaged=skip_damaged))

        if out is None:
            put(sys.stdout.buffer)
        else:
            from simulator.results.files import write_new

            write_new(out, put)
    _tell(found[0], out)


def load(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A store's folder, or a new one.")],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="A Parquet file.")
    ],
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="NAME=COLUMN", help="A column of the store is one of the file. Repeatable."
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Load behaviours from a Parquet file, the inverse of dump; again after an interruption, it goes on.

    A new store gets the columns that --map names, or all of the file's. Texts, floats and times are kept as
    integers, and are themselves again in a dump.
    """
    from seqvault.vault.store import SeqVault
    from simulator.commands.output import progress
    from simulator.commands.store_load import Kept, schema_of
    from simulator.commands.store_load import load as read

    new = not (path / "MANIFEST").exists()
    sources = _sources(file, columns)
    schema, kinds = schema_of(file, sources)
    with (
        _nothing_left_of(path),
        SeqVault(path, schema=schema if new else None) as store,
        progress(quiet) as shown,
    ):
        kept = Kept(path)
        kept.describe(
            {name: kind for name, kind in kinds.items() if name in ("user_id", *store.schema.names)}
        )
        before = store.stats()["behaviours"]
        for done, total in read(store, file, sources, kept):
            shown.stage("rows", done, total)
        found = store.stats()
    print(f"{found['behaviours'] - before:,} behaviours new of {found['behaviours']:,}: {path}")


def delete(
    path: Folder,
    users: Annotated[
        Path,
        typer.Option(
            "--users",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="User ids, one a line; or one column of Parquet.",
        ),
    ],
    full: Annotated[bool, typer.Option("--full", help="Then rewrite everything: deletes are final.")] = False,
) -> None:
    """Forget users, durably, as one change. The bytes are gone from all files after --full."""
    from simulator.commands.store_load import Kept, users_in

    ids = users_in(users, Kept(path))
    with _opened(path, read_only=False) as store:
        before = store.stats()["users"]
        store.delete_users(ids)
        if full:
            store.compact(full=True)
        print(f"{before - store.stats()['users']:,} of {len(ids):,} users were there, and are forgotten")


def migrate(
    source: Annotated[Path, typer.Argument(metavar="LASTN", help="The folder of a LastN store.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A new folder, or one that a migration left.")],
    quiet: Quiet = False,
) -> None:
    """Copy a LastN store into a SeqVault, then compare every user; again after an interruption, it goes on.

    The LastN store is only read. Stop its writer first: what comes meanwhile is found, and is an error.
    """
    from seqvault.lastn import LastNStore
    from seqvault.vault.store import SeqVault
    from simulator.commands.output import progress
    from simulator.commands.store_migrate import compare, copy

    with (
        LastNStore.as_made(source, read_only=True) as old,
        SeqVault(path, schema=old.schema) as new,
        progress(quiet) as shown,
    ):
        for stage, steps in (("copied", copy(old, new)), ("compared", compare(old, new))):
            for done, total in steps:
                shown.stage(f"users {stage}", done, total)
        found = new.stats()
    print(f"{found['behaviours']:,} behaviours of {found['users']:,} users, each user compared: {path}")


@contextmanager
def _nothing_left_of(path: Path) -> Iterator[None]:
    """A store that is made within, and refused before a first behaviour was in it, is not left behind."""
    there = path.exists()
    try:
        yield
    except Exception as error:
        try:
            if not there and not _behaviours_in(path):
                shutil.rmtree(path, ignore_errors=True)
        except Exception as unread:
            error.add_note(f"What it left in {path} cannot be read, and is kept: {unread}")
            raise error from unread
        raise


def _behaviours_in(path: Path) -> float:
    from seqvault.vault.store import SeqVault

    if not (path / "MANIFEST").exists():
        return 0
    with SeqVault(path, schema=None, read_only=True) as store:
        return store.stats()["behaviours"]


def _sources(file: Path, columns: list[str] | None) -> dict[str, str]:
    """Column of the store -> column of the file."""
    from simulator.commands.store_load import columns_in

    if not columns:
        return {name: name for name in columns_in(file)}
    sources = {}
    for pair in columns:
        name, equals, source = pair.partition("=")
        if not (name and equals and source):
            raise typer.BadParameter(f"found {pair!r}; expected NAME=COLUMN", param_hint="--map")
        sources[name] = source
    return sources


def snapshot(
    path: Folder,
    out: Annotated[
        Path, typer.Argument(metavar="COPY", help="A new folder; on the same file system it takes no space.")
    ],
) -> None:
    """Copy a store as it is now, in moments: files that never change become hard links."""
    with _opened(path) as store:
        store.snapshot(out)
    try:
        for described in path.glob("*.json"):
            # What a load keeps beside the store; see store_load.py.
            shutil.copy(described, out)
    except BaseException:
        shutil.rmtree(out)  # integers without their meaning are no copy
        raise
    print(f"Store: {out}")
    print("On the same disk its files are links to the store's. A copy elsewhere makes it a backup:")
    print(f"  cp -r {quote(str(out))} ELSEWHERE")


def compact(
    path: Folder,
    full: Annotated[bool, typer.Option("--full", help="Rewrite everything; deletes are final.")] = False,
    now_s: Annotated[
        int | None,
        typer.Option("--now", metavar="SECONDS", help="The time by which ttl_s expires behaviours."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also where --now is so late that no behaviour would be left.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Merge blocks; drop what is dead, expired or beyond a cap. The store must have no other writer."""
    from simulator.commands.output import print_json

    with _opened(path, read_only=False) as store:
        before = store.stats()["bytes_on_disk"]
        store.compact(now_s=now_s, full=full, force=force)
        after = store.stats()["bytes_on_disk"]
    if as_json:
        print_json({"store": str(path), "bytes_before": before, "bytes_after": after})
    else:
        print(f"{before:,.0f} bytes before, {after:,.0f} after")


@contextmanager
def _opened(path: Path, *, read_only: bool = True) -> "Iterator[SeqVault]":
    """The store as it is now: what a writer adds meanwhile is not followed."""
    from seqvault import StoreError
    from seqvault.vault.store import SeqVault

    if not (path / "MANIFEST").exists():
        raise StoreError(
            f"{path}: no SeqVault store here (no MANIFEST); check the path. `laser-ab store make NEW_FOLDER` "
            "makes one to try"
        )
    if not read_only:
        # Opening for writing would make a store where there is none.
        SeqVault(path, schema=None, read_only=True).close()
    with SeqVault(path, schema=None, read_only=read_only, staleness_s=float("inf")) as store:
        yield store


def _refuse_out(path: Path, out: Path | None, form: "Form") -> None:
    from simulator.results.read import results_around

    if out is None:
        if form == "parquet":
            raise typer.BadParameter(
                "parquet is no text; say where to write it with --out FILE", param_hint="--format"
            )
        return
    around = path.resolve() if out.resolve().is_relative_to(path.resolve()) else results_around(out)
    if around is not None:
        raise typer.BadParameter(
            f"found {out} inside {around}; expected a file outside of it", param_hint="--out"
        )


def _tell(done: "Dumped", out: Path | None) -> None:
    print(
        f"{done.behaviours:,} behaviours of {done.users:,} users{f': {out}' if out else ''}", file=sys.stderr
    )
    for user, why in done.damaged.items():
        print(f"left out user {user}: {why}", file=sys.stderr)
    if done.damaged:
        raise typer.Exit(1)
