"""Loss of power: a workload is recorded, and every disk it may leave is opened and held to the promise.

What a state must hold follows from marks among the recorded calls: an operation acknowledged as sync
survives, and with it every operation of any stream acknowledged before it was issued, as one log holds them
all. `flush` does the same for what is async. A state is then written to, recorded itself, and loses power
again: records a first crash hid must not come back in a second.
"""

import shutil
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from lossy_disk import RecordingIO, crashes, instead_of_io
from streams import Append, Stream, Survivors, standard_streams
from vaults import MEMORY, compact_early, open_vault


@dataclass
class Progress:
    """How far each stream came: `acked` operations returned, `safe` ones must survive, `issued` ones may."""

    acked: dict[int, int] = field(default_factory=dict)
    safe: dict[int, int] = field(default_factory=dict)
    issued: dict[int, int] = field(default_factory=dict)
    durable: int = 0

    def take(self, mark: tuple) -> None:
        match mark:
            case ("issued", stream, number):
                self.issued[stream] = number + 1
            case ("acked", stream, number, _):
                self.acked[stream] = number + 1
            case ("safe", reached):
                self.safe.update({s: n for s, n in reached.items() if n > self.safe.get(s, 0)})
            case ("durable", sequence):
                self.durable = max(self.durable, sequence)


class Writer:
    """Runs streams on a store and marks what the recording must know."""

    def __init__(self, device: RecordingIO, streams: list[Stream], firsts: dict[int, int]) -> None:
        self.device = device
        self.streams = streams
        self.next = {stream.number: firsts.get(stream.number, 0) for stream in streams}
        self.issued = dict(self.next)

    def resume(self, store) -> None:
        """Find out what the last process left: all that was acknowledged to it is there, killed or not."""
        for stream in self.streams:
            number = stream.number
            self.next[number] = Survivors(stream).settle(store, self.next[number], self.issued[number])
        self.device.mark(("durable", store.durable_sequence))

    def step(self, store, stream: Stream) -> None:
        number = self.next[stream.number]
        operation = stream.operation(number)
        before = dict(self.next)
        self.issued[stream.number] = number + 1
        self.device.mark(("issued", stream.number, number))
        operation.run(store)
        self.next[stream.number] = number + 1
        synced = not (isinstance(operation, Append) and operation.durability == "async")
        self.device.mark(("acked", stream.number, number, synced))
        if synced:
            self.device.mark(("safe", {**before, stream.number: number + 1}))
        self.device.mark(("durable", store.durable_sequence))

    def flush(self, store) -> None:
        before = dict(self.next)
        store.flush()
        self.device.mark(("safe", before))

    def run(self, store, steps: int, rng: np.random.Generator) -> None:
        """One thread's turn: operations of all streams in random order, maintenance among them."""
        for _ in range(steps):
            self.step(store, self.streams[int(rng.integers(len(self.streams)))])
            chance = rng.random()
            if chance < 0.03:
                store.seal()
            elif chance < 0.05:
                store.compact(full=bool(rng.random() < 0.5))
            elif chance < 0.08:
                self.flush(store)

    def run_threads(self, store, steps: int) -> None:
        """A thread a stream: appends share syncs, and write while another's sync is under way."""
        failures: list[BaseException] = []

        def work(stream: Stream) -> None:
            try:
                for _ in range(steps):
                    self.step(store, stream)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(stream,)) for stream in self.streams]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]


def record(root: Path, seed: int, firsts: dict[int, int], *, steps: int, options: dict) -> RecordingIO:
    """Run a workload on the vault `root`/vault, in three lives that end well or by a kill; its recording."""
    rng = np.random.default_rng((seed, 1))
    threaded = seed % 3 == 2
    compact_early(seed % 2 == 1)
    device = RecordingIO(root, sync_s=0.001 if threaded else 0.0)
    writer = Writer(device, standard_streams(), firsts)
    with instead_of_io(device):
        for life in range(3):
            if life < 2 and rng.random() < 0.5:
                device.die_in(int(rng.integers(1, 6 * steps)))
            try:
                with open_vault(root / "vault", **options) as store:
                    writer.resume(store)
                    if threaded:
                        writer.run_threads(store, steps // 15)
                    else:
                        writer.run(store, steps // 3, rng)
            except BaseException:
                if not device.dead:
                    raise
            device.revive()
    return device


def chosen_moments(recording: RecordingIO, count: int, rng: np.random.Generator) -> list[int]:
    """Half of them anywhere, half beside the calls that rename, make, link and remove files."""
    rare = [
        index
        for index, event in enumerate(recording.events)
        if event.kind not in ("write", "sync", "mark", "allocate")
    ]
    anywhere = rng.integers(1, len(recording.events) + 1, count - count // 2)
    beside = rng.choice(rare, count // 2) + rng.integers(0, 4, count // 2) if rare else []
    return sorted(min(int(i), len(recording.events)) for i in [*anywhere, *beside])


def progress_at(recording: RecordingIO, moment: int, start: dict[int, int]) -> Progress:
    """What the marks before a moment say. Streams began at `start`, all of it durable."""
    progress = Progress(dict(start), dict(start), dict(start))
    for event in recording.events[:moment]:
        if event.kind == "mark":
            progress.take(event.mark)  # type: ignore[arg-type]
    return progress


def check(root: Path, progress: Progress, *, go_on: bool, options: dict) -> dict[int, int]:
    """Open what is left, hold each stream to the promise, and go on writing; the operations that survived."""
    survived = {}
    with open_vault(root / "vault", **options) as store:
        survivors = {stream.number: Survivors(stream) for stream in standard_streams()}
        for number, known in survivors.items():
            safe, issued = progress.safe.get(number, 0), progress.issued.get(number, 0)
            survived[number] = known.settle(store, safe, issued)
        durable = store.stats()["durable_sequence"]
        assert durable >= progress.durable, f"durable {progress.durable} was reported, {durable} is there"
        if go_on:
            for number, known in survivors.items():
                known.stream.operation(survived[number]).run(store)
                survived[number] += 1
    if go_on:
        with open_vault(root / "vault", **options) as store:
            for number, known in survivors.items():
                known.settle(store, survived[number], survived[number])
    return survived


def lose_power(
    seed: int, states: int, *, steps: int = 60, kept: str | None = None, options: dict | None = None
) -> list[str]:
    """Record a workload, open `states` disks it may leave, a quarter of them of a second generation.

    Args:
        kept: a folder for the states that break the promise.

    Returns:
        what was wrong, one line a state.
    """
    root = Path(tempfile.mkdtemp(prefix="power-", dir=MEMORY))
    failures: list[str] = []
    try:
        (root / "disk").mkdir()
        recording = record(root / "disk", seed, {}, steps=steps, options=options or {})
        second = states // 4
        firsts = _open_states(
            root, recording, {}, states - second, (seed, 0), failures, kept=kept, options=options
        )
        for turn in range(0, second, 5):
            base, start = firsts[turn % len(firsts)] if firsts else (None, {})
            if base is None:
                break
            again = record(base, seed + turn, start, steps=steps // 3, options=options or {})
            _open_states(root, again, start, 5, (seed, 1 + turn), failures, kept=kept, options=options)
    finally:
        shutil.rmtree(root)
    return failures


def _open_states(
    root: Path,
    recording: RecordingIO,
    start: dict[int, int],
    count: int,
    seed: tuple[int, int],
    failures: list[str],
    *,
    kept: str | None,
    options: dict | None,
) -> list[tuple[Path, dict[int, int]]]:
    """Check `count` states; those that held stay on disk for a second generation."""
    rng = np.random.default_rng(seed)
    sound = []
    moments = chosen_moments(recording, count, rng)
    for turn, (moment, modes, image) in enumerate(crashes(recording, moments, rng)):
        folder = root / f"state-{seed[1]}-{turn}"
        folder.mkdir()
        image.write(folder)
        progress = progress_at(recording, moment, start)
        try:
            survived = check(folder, progress, go_on=turn % 2 == 0, options=options or {})
            sound.append((folder, survived))
        except Exception as error:
            place = ""
            if kept is not None:
                shutil.rmtree(folder)
                folder = Path(kept) / f"seed-{seed[0]}-{folder.name}"
                folder.mkdir(parents=True)
                image.write(folder)
                place = f", kept in {folder}"
            last = recording.events[moment - 1]
            failures.append(
                f"seed {seed}, state {turn}, power lost behind call {moment} ({last.kind} {last.path}), "
                f"{modes}{place}: {type(error).__name__}: {error}"
            )
    return sound
