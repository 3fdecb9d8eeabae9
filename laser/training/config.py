"""How a model is trained: settings, each with its reason and its limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from laser.errors import TrainingError

LOSSES = ("impressions", "requests")
OPTIMISERS = ("adam", "adagrad+adam")
PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        history: behaviours of a full history; 0 for a model that reads none.
        lengths: shares of `history`, one drawn for each batch, so that one model serves several lengths.
        length_beta: (a, b): draw lengths from least + s (history - least), s ~ Beta(a, b), in multiples of
            8, in place of `lengths`. Both below 1 is U-shaped: mostly short, now and then full (STCA,
            arXiv:2511.06077: train short, serve long). The newest behaviours are kept.
        least: L_min of that.
        batch: requests in a batch, of all processes together.
        loss: "impressions", the mean over candidates; or "requests", the mean over a request's candidates,
            then over requests (STCA's request-level loss). The same where every request has as many
            candidates.
        learning_rate: peak of the one-cycle schedule.
        table_rate: learning rate of what recognises (`RankingModel.RECOGNISES`), as a share of the others':
            at the full rate it drifts and every match blurs (docs/models.md has the figures).
        optimiser: "adam", or "adagrad+adam": embedding tables by Adagrad at `adagrad_rate` without a
            schedule, the rest by Adam (LASER, arXiv:2602.11562).
        adagrad_rate: learning rate of Adagrad.
        beta1: Adam's; None: "adam" has it moved against the rate, .95 to .85 at the peak and back, as torch's
            one-cycle schedule does; beside Adagrad it stays at .9, as LASER reports.
        beta2: Adam's; LASER has .9999.
        clip: largest norm of a step's gradient, None for no limit.
        precision: of matrix products; "bfloat16" and "float16" by autocast, weights stay float32.
        held_out: share of the requests that is not learned from but watched, the latest ones; 0 for no early
            stopping. With a one-cycle rate a training that stops early stops before the rate came down.
        checks: how often the watched loss is taken over the whole training; patience: stop after so many
            checks without a better one. The best weights are returned.
        epochs: passes over the examples.
        threads: CPU threads, fixed for the whole process.
        device: "auto", "cpu", "cuda" or "cuda:N".
        resident: keep the examples on the device and gather batches there; None: on a GPU.
        fast: batches of fixed shape and, on a GPU, every step replayed as one CUDA graph that gathers its
            batch and takes its own step, with TensorFloat-32 matrix products: the same losses up to
            rounding, many times sooner. For `optimiser` "adam", one process, and models that read the
            history whole; not repeatable to the bit on a GPU.

    Raises:
        TrainingError: a value is out of range.
    """

    history: int
    lengths: tuple[float, ...] = (1.0,)
    length_beta: tuple[float, float] | None = None
    least: int = 0
    batch: int = 128
    loss: Literal["impressions", "requests"] = "impressions"
    learning_rate: float = 4e-3
    table_rate: float = 0.1
    optimiser: Literal["adam", "adagrad+adam"] = "adam"
    adagrad_rate: float = 0.05
    beta1: float | None = None
    beta2: float = 0.999
    clip: float | None = None
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    held_out: float = 0.0
    checks: int = 20
    patience: int = 3
    epochs: int = 1
    threads: int = 1
    device: str = "cpu"
    resident: bool | None = None
    fast: bool = False

    @property
    def steady_beta1(self) -> float | None:
        """Adam's beta1 where it stays the same; None where it moves with the schedule."""
        return 0.9 if self.beta1 is None and self.optimiser == "adagrad+adam" else self.beta1

    def __post_init__(self) -> None:
        self._check_counts()
        self._check_lengths()
        self._check_rates()
        for name, known in (("loss", LOSSES), ("optimiser", OPTIMISERS), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise TrainingError(f"{name} is {getattr(self, name)!r}, expected one of {list(known)}.")
        if self.fast and (self.optimiser != "adam" or self.precision == "float16" or self.resident is False):
            raise TrainingError(
                f"fast with optimiser {self.optimiser!r}, precision {self.precision!r} and resident "
                f'{self.resident}, expected "adam", "float32" or "bfloat16", and examples on the device.'
            )

    def _check_counts(self) -> None:
        least = {"history": 0, "batch": 1, "epochs": 1, "threads": 1, "checks": 1, "patience": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise TrainingError(f"{name} is {getattr(self, name)}, expected {value} or more.")

    def _check_lengths(self) -> None:
        if not self.lengths or not all(0.0 < share <= 1.0 for share in self.lengths):
            raise TrainingError(
                f"lengths is {self.lengths}, expected shares of the history in (0, 1], such as (1.0, 0.5)."
            )
        if not 0 <= self.least <= self.history:
            raise TrainingError(f"least is {self.least}, expected 0 to history, {self.history}.")
        if self.length_beta is not None and not all(value > 0.0 for value in self.length_beta):
            raise TrainingError(f"length_beta is {self.length_beta}, expected two numbers above 0.")
        if self.length_beta is not None and self.lengths != (1.0,):
            raise TrainingError("both length_beta and lengths are set, expected one of them.")

    def _check_rates(self) -> None:
        for name in ("learning_rate", "adagrad_rate"):
            if not getattr(self, name) > 0.0:
                raise TrainingError(f"{name} is {getattr(self, name)}, expected more than 0.")
        if self.clip is not None and not self.clip > 0.0:
            raise TrainingError(f"clip is {self.clip}, expected more than 0, or None for no limit.")
        if not 0.0 <= self.table_rate <= 1.0:
            raise TrainingError(
                f"table_rate is {self.table_rate}, expected a share of learning_rate in [0, 1]."
            )
        for name in ("beta1", "beta2", "held_out"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value < 1.0:
                raise TrainingError(f"{name} is {value}, expected a share in [0, 1).")
