"""The experiment file's tables as frozen models. Start at `ExperimentConfig`; `load.py` loads a file.

Units are in the names: `_s` seconds, `_ms` milliseconds, `_ecpm` currency per 1,000 impressions. Shares
are fractions. Nothing here imports torch, SimPy or a store, so a file is checked in milliseconds.
"""

import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from simulator.config.columns import Arrivals
from simulator.config.guardrails import Guardrails
from simulator.config.market import Market
from simulator.config.table import Table
from simulator.config.table import problem as _problem
from simulator.errors import short
from simulator.metrics import COMPARED, PRIMARY

STORES = ("lastn", "seqvault", "memory")
MODELS = (
    "base", "din", "sim", "twin", "transformer", "hstu", "laser", "stca", "vista", "vql", "counts",
)  # fmt: skip
STORE_ENTRY_POINTS = "laser_ab.stores"
MODEL_ENTRY_POINTS = "laser_ab.models"
# By which rule an arm forms batches, shortens histories and gives up; a policy is a class in serving/.
Policy = Literal["goodput", "fifo", "ladder"]
Engine = Literal["compiled", "simpy"]
PROFILES = Path(__file__).resolve().parents[1] / "profiles"

# "pkg.module:callable", how a store or a model of one's own is named without an entry point.
_DOTTED = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_ARM_NAME = re.compile(r"[a-z0-9_-]+")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
_SHARE_TOLERANCE = 1e-9  # as the assignment's

# No machine holds or lasts more: a slip of the keyboard should not be found out by an allocation that fails.
_MOST_BEHAVIOURS = 10_000_000  # a user's, read for a request
_MOST_WORKERS = 10_000
_MOST_ROWS = 1_000_000  # of a batch
_MOST_DAYS = 10_000
_MOST_SECONDS = 1e9  # 32 years
_MOST_MS = 1000 * _MOST_SECONDS
_LOAD = 0.6  # of the slower arm's capacity


def _named(group: str, builtin: tuple[str, ...], what: str) -> Any:
    def check(name: str) -> str:
        if name in builtin or _DOTTED.fullmatch(name):
            return name
        plugins = sorted(point.name for point in entry_points(group=group))
        if name in plugins:
            return name
        known = ", ".join(f'"{known}"' for known in (*builtin, *plugins))
        raise _problem(
            f'no {what} "{name}"; expected one of {known}, or a dotted path such as "package.module:callable"'
        )

    return AfterValidator(check)


def _number_or(*words: str) -> Any:
    choices = " or ".join(f'"{word}"' for word in words)

    def check(value: object) -> object:
        if isinstance(value, str) and value in words:
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= _MOST_MS:
            return float(value)
        raise _problem(
            f"found {short(value)}, expected a number above 0 and at most {_MOST_MS:g}, or {choices}"
        )

    return BeforeValidator(check)


def _number_or_schema(*words: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"enum": list(words)}]})


Budget = Annotated[
    float | Literal["auto", "none"], _number_or("auto", "none"), _number_or_schema("auto", "none")
]
Compression = Annotated[float | Literal["auto"], _number_or("auto"), _number_or_schema("auto")]
StoreName = Annotated[str, _named(STORE_ENTRY_POINTS, STORES, "store")]
ModelName = Annotated[str, _named(MODEL_ENTRY_POINTS, MODELS, "model")]
LightModelName = Annotated[str, _named(MODEL_ENTRY_POINTS, (*MODELS, "none"), "light model")]
if TYPE_CHECKING:
    PrimaryMetric = str
else:  # the names of the registry, which no type checker can read
    PrimaryMetric = Literal[tuple(metric.name for metric in COMPARED)]


def is_shipped_profile(name: str) -> bool:
    """Whether it names a profile of this package ("cpu"), not a file ("mine.json", "dir/mine")."""
    return re.search(r"[/\\]|\.json$", name) is None


class Experiment(Table):
    """Design, clock and statistics. `days` and `pre_days` replace the preset's."""

    name: str = Field(
        default="experiment", min_length=1, description="Shown in reports; the file's name by default."
    )
    days: int | None = Field(
        default=None, ge=1, le=_MOST_DAYS, description="Days of the experiment; the preset's by default."
    )
    pre_days: int | None = Field(
        default=None,
        ge=0,
        le=_MOST_DAYS,
        description="Days before it, served wholly by the control, for CUPED; the preset's by default.",
    )
    unit: Literal["user"] = Field(default="user", description="What is randomised.")
    control: str = Field(default="", description="The control's name; the first arm of the file by default.")
    split: dict[str, Annotated[float, Field(ge=1e-6, le=1)]] = Field(
        default_factory=dict, description="Share of the units an arm gets; equal shares by default."
    )
    treatment_share: float | None = Field(
        default=None,
        ge=1e-6,
        lt=1,
        description="In place of a split: what the treatments get, in equal parts.",
    )
    salt: str | None = Field(
        default=None,
        min_length=1,
        description="Of the split: another one assigns the users anew; the seed's digits by default.",
    )
    service_times: Literal["live", "profile"] = Field(
        default="profile",
        description="Where service times come from: real calls measured now, or a measured profile.",
    )
    extrapolate: bool = Field(
        default=False,
        description="Whether the largest the profile measured may stand in for what is larger, too fast.",
    )
    profile: str = Field(
        default="cpu",
        min_length=1,
        description="A shipped profile's name, or the path made by `laser-ab profile` (from this file).",
    )
    engine: Engine = Field(
        default="compiled",
        description="Of the timing plane with a profile; both give the same bits, SimPy's is to be read.",
    )
    # One value, kept as a setting: every run's resolved file has it, and it says what scores rest on.
    feedback: Literal["organic"] = Field(
        default="organic",
        description="What returns to the histories: users' own behaviours, alike in every arm; no ad clicks.",
    )
    primary: PrimaryMetric = Field(
        default=PRIMARY, description="The metric the verdict is about; docs/metrics.md defines them."
    )
    level: float = Field(default=0.95, ge=0.5, le=0.9999, description="Confidence level of the intervals.")
    sequential: float | None = Field(
        default=None,
        gt=1,
        le=1e12,
        description="Ratios' intervals hold at every look, tightest at so many users; none by default.",
    )
    winsorise: float | None = Field(
        default=None,
        gt=0.5,
        lt=1,
        description="Users' totals of a numerator end at this quantile, such as 0.999; none by default.",
    )
    budget_ms: Budget = Field(
        default="auto",
        description='Latency budget; "auto" is twice the slowest arm\'s unloaded P95, "none" no deadline.',
    )
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N.")
    torch_threads: int = Field(
        default=1, ge=1, le=1024, description="Fixed here because scores must not depend on the machine."
    )
    ingest_delay_s: float = Field(
        default=60.0, ge=0, le=_MOST_SECONDS, description="From a behaviour to its being readable."
    )
    training_seed: int | None = Field(
        default=None, ge=0, lt=2**63, description="The experiment's seed by default."
    )

    @field_validator("feedback", mode="before")
    @classmethod
    def _feedback_exists(cls, value: object) -> object:
        if value == "all":
            raise _problem(
                'feedback = "all" (ad clicks return to the histories) does not exist yet; use "organic"'
            )
        return value

    @field_validator("name", mode="after")
    @classmethod
    def _name_is_a_folder_name(cls, value: str) -> str:
        if value in (".", "..") or any(c in "/\\" or ord(c) < 32 for c in value):
            raise _problem(
                f"found {short(value)}, expected a name that can be a folder's: no slash, no control "
                "character"
            )
        return value

    @field_validator("device", mode="after")
    @classmethod
    def _device_known(cls, value: str) -> str:
        if not _DEVICE.fullmatch(value):
            raise _problem(f'found "{value}", expected "auto", "cpu", "cuda" or "cuda:N"')
        return value

    @property
    def budget_s(self) -> float | None:
        """The budget in seconds, None for no deadline.

        Raises:
            ValueError: the budget is "auto", which only a profile or a calibration can turn into a number.
        """
        if self.budget_ms == "none":
            return None
        if isinstance(self.budget_ms, str):
            raise ValueError('budget_ms is "auto"; resolve it from the service times first.')
        return self.budget_ms / 1000.0

    @property
    def profile_path(self) -> Path:
        """The profile's file: a shipped one for a bare name such as "cpu"."""
        if is_shipped_profile(self.profile):
            return PROFILES / f"{self.profile}.json"
        return Path(self.profile)


class Traffic(Table):
    """Where requests come from and how dense they are on the timing plane."""

    preset: str | None = Field(default=None, description="A synthetic world, such as demo, quick or paper.")
    log: str | None = Field(
        default=None,
        min_length=1,
        description="A folder made by `laser-ab import` (from this file), in place of a preset.",
    )
    like: str | None = Field(
        default=None,
        min_length=1,
        description="The log that a generated world resembles, and its licence; shown with results.",
    )
    holdout_days: int | None = Field(
        default=None,
        ge=1,
        le=_MOST_DAYS,
        description="Of a log: days between training and pre-period, for calibration; a sixth by default.",
    )
    load: float | None = Field(
        default=None,
        ge=1e-6,
        le=1e6,
        description="Share of the slower arm's capacity; above 1 is overload; 0.6 where no rate is given.",
    )
    requests_per_s: float | None = Field(
        default=None, ge=1e-6, le=1e9, description="Mean arrivals in a simulated second, in place of a load."
    )
    time_compression: Compression = Field(
        default="auto", description='Log seconds per simulated second, or "auto".'
    )
    arrivals: Arrivals | None = Field(
        default=None,
        description="A recorded trace by which requests come, its bursts kept at any rate; else users'.",
    )
    world: dict[str, Any] = Field(
        default_factory=dict, description="Parameters that replace the preset's, such as users or requests."
    )

    @model_validator(mode="before")
    @classmethod
    def _load_by_default(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("load") is None and data.get("requests_per_s") is None:
            return {**data, "load": _LOAD}
        return data

    @model_validator(mode="after")
    def _one_source(self) -> "Traffic":
        if self.load is not None and self.requests_per_s is not None:
            raise _problem(
                "found both `load` and `requests_per_s`, expected one of them; leave the other out",
                "traffic.requests_per_s",
            )
        if self.preset is None and self.log is None:
            raise _problem(
                'missing key `preset`; expected a synthetic world, such as preset = "demo", or a log folder: '
                'log = "FOLDER"'
            )
        if self.preset is not None and self.log is not None:
            raise _problem("found both `preset` and `log`, expected one of them; leave the other out")
        if self.log is not None and self.world:
            raise _problem(
                "[traffic.world] replaces a preset's parameters, and a log has none; leave it out",
                "traffic.world",
            )
        if self.log is not None and self.like is not None:
            raise _problem(
                "it says which log a generated world resembles, and this traffic is a log; leave it out",
                "traffic.like",
            )
        if self.preset is not None and self.holdout_days is not None:
            raise _problem(
                "it cuts a log's days; for a preset set holdout_days in [traffic.world]",
                "traffic.holdout_days",
            )
        return self


class Training(Table):
    """How an arm's model is trained."""

    # Mixed by default: the ladder also asks the model for half and a quarter of its history, and a model
    # that never saw short histories answers them badly.
    lengths: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        default=(1.0, 0.5, 0.25),
        min_length=1,
        strict=False,
        description="Shares of `history`, one drawn per batch.",
    )
    history: int | None = Field(
        default=None,
        ge=1,
        le=_MOST_BEHAVIOURS,
        description="Behaviours it is trained on, at most; the arm's own by default. With more, one model "
        "serves arms and sweep cells of several histories.",
    )
    batch: int | None = Field(
        default=None, ge=1, le=_MOST_ROWS, description="Requests per batch; the model's own by default."
    )
    learning_rate: float | None = Field(
        default=None, gt=0, le=1000, description="Peak of the schedule; the model's own by default."
    )
    epochs: int = Field(default=1, ge=1, le=100_000, description="Passes over the training log.")


class Summary(Table):
    """What an arm keeps of each user in place of reading the history; for models with a summary."""

    refresh_s: float = Field(
        gt=0, le=_MOST_SECONDS, description="Seconds of log time after which a user's summary is made anew."
    )


class ArmSettings(Table):
    """A store, a model, a history length and serving settings."""

    store: StoreName = Field(
        description="lastn, seqvault, memory, an entry point, or package.module:callable."
    )
    model: ModelName = Field(description=f"{', '.join(MODELS)}, an entry point, or package.module:callable.")
    history: int = Field(ge=1, le=_MOST_BEHAVIOURS, description="Behaviours read for a request, the newest.")
    store_options: dict[str, Any] = Field(default_factory=dict, description="Passed to the store.")
    model_options: dict[str, Any] = Field(default_factory=dict, description="Passed to the model.")
    width: int = Field(default=16, ge=1, le=65_536, description="The model's embedding width.")
    checkpoint: str | None = Field(
        default=None, min_length=1, description="A trained model; else it is trained first."
    )
    training: Training = Field(default=Training(), description="How the model is trained.")
    summary: Summary | None = Field(
        default=None, description="Keep a summary of each user (vista, vql); else each request makes its own."
    )
    precision: Literal["fp32", "tf32", "fp16", "bf16"] = Field(
        default="fp32",
        description="Of matrix products in scoring; the manifest says how far it moves a probability.",
    )
    light_model: LightModelName = Field(
        default="din", description='The ladder\'s light model, "none" for no such step.'
    )
    light_history: int = Field(
        default=50, ge=1, le=_MOST_BEHAVIOURS, description="Behaviours the light model uses."
    )
    store_workers: int = Field(default=2, ge=1, le=_MOST_WORKERS, description="Store reads at the same time.")
    scorers: int = Field(default=1, ge=1, le=_MOST_WORKERS, description="Model replicas.")
    max_batch: int = Field(default=8, ge=1, le=_MOST_ROWS, description="Requests per scoring batch, at most.")
    max_wait_ms: float = Field(default=0.0, ge=0, le=_MOST_MS, description="How long a batch waits to fill.")
    policy: Policy = Field(
        default="goodput",
        description="Batching, shortening and giving up: most answers in time, first come first served, or "
        "each request by itself.",
    )

    @property
    def store_key(self) -> str:
        """The store's name in a service-time profile, with its layout where it has several."""
        layout = self.store_options.get("layout", "chunks" if self.store == "lastn" else None)
        return self.store if layout is None else f"{self.store}/{layout}"


class ExperimentConfig(Table):
    """A whole experiment file, resolved: the control and the split are always filled in."""

    seed: int = Field(default=7, ge=0, lt=2**63, description="Every draw follows from it.")
    experiment: Experiment = Field(default=Experiment(), description="Design, clock and statistics.")
    traffic: Traffic = Field(description="Where requests come from and how dense they are.")
    arms: dict[str, ArmSettings] = Field(description="At least two, the control among them.")
    market: Market = Field(default=Market(), description="Auction, prices and budgets.")
    guardrails: Guardrails = Field(default=Guardrails(), description="What a treatment must not make worse.")

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, data: Any) -> Any:
        arms = data.get("arms") if isinstance(data, dict) else None
        experiment = data.get("experiment", {}) if isinstance(data, dict) else None
        if not isinstance(arms, dict) or not arms or not isinstance(experiment, dict):
            return data
        experiment = {"control": next(iter(arms)), **experiment}
        share, control = experiment.get("treatment_share"), experiment["control"]
        if "split" not in experiment and isinstance(share, float) and 0 < share < 1 and control in arms:
            # Resolved, a file names every arm's share.
            del experiment["treatment_share"]
            each = share / max(1, len(arms) - 1)
            experiment["split"] = {name: 1.0 - share if name == control else each for name in arms}
        return {**data, "experiment": {"split": {name: 1.0 / len(arms) for name in arms}, **experiment}}

    @field_validator("arms", mode="before")
    @classmethod
    def _arm_names(cls, arms: Any) -> Any:
        if isinstance(arms, dict):
            for name in arms:
                if not _ARM_NAME.fullmatch(str(name)):
                    raise _problem(f'arm name "{name}"; expected lower-case letters, digits, "_" and "-"')
            if len(arms) < 2:
                raise _problem(f"found {len(arms)} arm, expected at least two: [arms.control] and one more")
        return arms

    @model_validator(mode="after")
    def _design(self) -> "ExperimentConfig":
        names = ", ".join(self.arms)
        if self.experiment.control not in self.arms:
            raise _problem(
                f'no arm "{self.experiment.control}"; expected one of {names}', "experiment.control"
            )
        for name, arm in self.arms.items():
            longest = arm.training.history
            if longest is not None and longest < arm.history:
                raise _problem(
                    f"found {longest}, expected at least the {arm.history} behaviours that the arm reads",
                    f"arms.{name}.training.history",
                )
            if arm.summary is not None and self.experiment.service_times == "live":
                raise _problem(
                    'kept summaries are charged from a profile; use service_times = "profile", or leave the '
                    "table out",
                    f"arms.{name}.summary",
                )
        split = self.experiment.split
        if self.experiment.treatment_share is not None:
            raise _problem(
                "found both `split` and `treatment_share`, expected one of them; leave the other out",
                "experiment.treatment_share",
            )
        if set(split) != set(self.arms):
            raise _problem(
                f"found shares for {', '.join(split)}; expected every arm once: {names}", "experiment.split"
            )
        if abs(sum(split.values()) - 1.0) > _SHARE_TOLERANCE:
            raise _problem(f"the shares sum to {sum(split.values()):g}; expected 1", "experiment.split")
        return self

    @property
    def arm_names(self) -> tuple[str, ...]:
        """Control first, then the treatments in file order."""
        control = self.experiment.control
        return (control, *(name for name in self.arms if name != control))

    @property
    def salt(self) -> str:
        """What the units' assignment to arms is salted with. Names and file names change no number."""
        return str(self.seed) if self.experiment.salt is None else self.experiment.salt

    @property
    def training_seed(self) -> int:
        """The seed of model initialisation and batch order."""
        return self.seed if self.experiment.training_seed is None else self.experiment.training_seed
