"""What an experiment's file and its small inputs already say of how it would end. Start at `findings`.

Nothing is built, no torch imported: `laser-ab config check` shows it at once, and every run begins with it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from shlex import quote

import numpy as np

from simulator.arms.arm import Arm, arms_of
from simulator.config.errors import ConfigError, Problem
from simulator.config.load import ExperimentConfig, world_config
from simulator.config.locate import KeyPath
from simulator.config.market import FEW_CLICKS
from simulator.config.settings import PROFILES
from simulator.inputs.extent import Extent, extent_of
from simulator.logs.manifest import read_manifest
from simulator.results.numbers import ms
from simulator.results.scorecard import MIN_UNITS
from simulator.serving.capacity import AUTO_BUDGET
from simulator.serving.predictions import ProfilePredictions
from simulator.serving.profile import ProfileError, ServiceProfile, load
from simulator.world.catalogue import build_catalogue

_MOST_GIB = 32_768  # more than any machine's disk has


@dataclass(frozen=True)
class Finding:
    """What is wrong with a value, and the remedy; a warning lets the experiment run."""

    path: KeyPath
    message: str
    help: str | None = None
    warning: bool = False


def findings(
    config: ExperimentConfig, *, profiled: bool = True, budgeted: bool = True, here: bool = False
) -> list[Finding]:
    """What would end the experiment, or make it say nothing.

    Args:
        config: the experiment.
        profiled: whether it is to be served and judged, and may replay a profile; measuring and training are
            not.
        budgeted: whether its own budget is used; a sweep has others.
        here: whether it is to run on this machine, which must then hold it.
    """
    arms, extent = arms_of(config), extent_of(config)
    found = [
        *_missing(config),
        *_sizes(config, extent, here),
        *_histories(arms, extent),
        *_training(arms, extent),
    ]
    found += [*_reserve(config), *_daily_budgets(config)]
    if profiled:
        found += _intervals(config, extent)
    if profiled and config.experiment.service_times == "profile":
        found += _profile(config, arms, extent, budgeted)
    return found


def refuse(config: ExperimentConfig, *, budgeted: bool = True) -> None:
    """For those who run an experiment here, and have no file to point at: raise what is no warning.

    Raises:
        ConfigError: with every finding.
    """
    wrong = [f for f in findings(config, budgeted=budgeted, here=True) if not f.warning]
    if wrong:
        raise ConfigError([Problem(f.message, ".".join(map(str, f.path)), help=f.help) for f in wrong])


def _missing(config: ExperimentConfig) -> Iterator[Finding]:
    """Files and modules that the file names."""
    if config.traffic.log is not None:
        folder = Path(config.traffic.log)
        for name, entry in read_manifest(folder)["files"].items():
            size = (folder / name).stat().st_size if (folder / name).is_file() else None
            if size != entry["bytes"]:
                found = "no such file" if size is None else f"{size:,} bytes, expected {entry['bytes']:,}"
                help = "import the log anew: laser-ab import table MAP.toml --out LOG"
                yield Finding(("traffic", "log"), f"`traffic.log`: {folder / name}: {found}", help)
    for name, arm in config.arms.items():
        if arm.checkpoint is not None and not Path(arm.checkpoint).is_file():
            key = ("arms", name, "checkpoint")
            message = f"`{'.'.join(key)}`: {arm.checkpoint} is not there, expected a trained model"
            yield Finding(key, message, "train one with `laser-ab train CONFIG`, or leave the key out")
        for setting in ("store", "model", "light_model"):
            module, colon, _ = getattr(arm, setting).partition(":")
            if colon and not _importable(module):
                key = ("arms", name, setting)
                message = f"`{'.'.join(key)}`: there is no module {module.partition('.')[0]} to import"
                yield Finding(key, message, "install its package, or put its folder on PYTHONPATH")


def _importable(module: str) -> bool:
    # The top package alone: asking for more would import it.
    try:
        return find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def _users_key(config: ExperimentConfig) -> KeyPath:
    """What the number of users comes from."""
    return ("traffic", "world", "users") if config.traffic.log is None else ("traffic", "log")


def _intervals(config: ExperimentConfig, extent: Extent) -> Iterator[Finding]:
    """Too few users for an interval."""
    arm, share = min(config.experiment.split.items(), key=lambda entry: entry[1])
    if extent.users * share < MIN_UNITS:
        yield Finding(
            _users_key(config),
            f"{extent.users:,} users, of whom arm {arm} gets about {extent.users * share:.0f}: an arm of "
            f"fewer than {MIN_UNITS} gets no interval",
            f"at least {ceil(MIN_UNITS / share):,} users, or a larger share in experiment.split",
            warning=True,
        )


def _sizes(config: ExperimentConfig, extent: Extent, here: bool) -> Iterator[Finding]:
    """More than this machine's disk holds, or than a page of the log has candidates for."""
    folder = tempfile.gettempdir()
    free_gib = shutil.disk_usage(folder).free / 2**30
    if extent.histories_gib > free_gib:
        yield Finding(
            _users_key(config),
            f"the histories of {extent.users:,} users take about {extent.histories_gib:,.0f} GiB of "
            f"temporary files, and {folder} has {free_gib:,.0f} GiB free",
            "fewer users or shorter histories (traffic.world.users, traffic.world.history_max), or TMPDIR "
            "with a folder on a larger disk",
            warning=not here and extent.histories_gib < _MOST_GIB,
        )
    slots = config.market.slots or 1
    if config.traffic.log is not None and slots > extent.candidates:
        message = f"`market.slots`: {slots} slots for {extent.candidates} candidates per request of the log"
        yield Finding(("market", "slots"), message, f"at most {extent.candidates}")


def _histories(arms: tuple[Arm, ...], extent: Extent) -> Iterator[Finding]:
    for arm in arms:
        wanted = arm.settings.history
        if wanted > extent.longest:
            yield Finding(
                ("arms", arm.name, "history"),
                f"`arms.{arm.name}.history` is {wanted:,}, and histories here have about {extent.longest:,} "
                "behaviours at most: no request can read as many",
                "a longer traffic.world.history_max, or a shorter history",
                warning=True,
            )


def _training(arms: tuple[Arm, ...], extent: Extent) -> Iterator[Finding]:
    for arm in arms:
        batch = arm.settings.training.batch
        if arm.settings.checkpoint is None and batch is not None and batch > extent.training_requests:
            yield Finding(
                ("arms", arm.name, "training", "batch"),
                f"`arms.{arm.name}.training.batch` is {batch:,}, and the log has about "
                f"{extent.training_requests:,} requests to train on: an epoch is a single step",
                f"a smaller batch, such as {max(1, min(64, extent.training_requests // 20))}",
                warning=True,
            )


def _reserve(config: ExperimentConfig) -> Iterator[Finding]:
    """A reserve above what the advertisers of a generated world can bid."""
    reserve = config.market.reserve_ecpm
    if reserve == 0 or config.traffic.log is not None:
        return
    catalogue, truth, _ = build_catalogue(world_config(config), config.seed)
    dearest = 1000.0 * float(catalogue.tcpa.max())
    certain = 1000.0 * float((catalogue.tcpa / (1.0 + np.exp(-truth.conversion_logit))).max())
    key = ("market", "reserve_ecpm")
    if reserve > dearest:
        yield Finding(
            key,
            f"`market.reserve_ecpm` is {reserve:,.0f}, and no bid exceeds {dearest:,.0f}, the value of 1,000 "
            "impressions that all end in the dearest conversion: no ad would ever be shown",
            "a reserve far below, such as 10",
        )
    elif reserve > certain:
        yield Finding(
            key,
            f"`market.reserve_ecpm` is {reserve:,.0f}, and 1,000 impressions of the best ad are worth about "
            f"{certain:,.0f} if every one of them is clicked: hardly any ad would be shown",
            "a reserve far below, such as 10",
            warning=True,
        )


def _daily_budgets(config: ExperimentConfig) -> Iterator[Finding]:
    """Budgets of less than a few clicks."""
    clicks = config.market.budget_clicks
    if config.market.budgets == "shared" and clicks < FEW_CLICKS:
        yield Finding(
            ("market", "budget_clicks"),
            f"`market.budget_clicks` is {clicks:g}: a daily budget may be worth fewer than {FEW_CLICKS:g} "
            "clicks, and then ends by which click is drawn, not by what a ranking earns",
            "at least 10, with fewer advertisers (traffic.world.advertisers) if budgets shall run out",
            warning=True,
        )


def _profile(
    config: ExperimentConfig, arms: tuple[Arm, ...], extent: Extent, budgeted: bool
) -> Iterator[Finding]:
    """Whether the profile has every store and model, and what its times say of the budget."""
    name = config.experiment.profile
    try:
        profile = load(config.experiment.profile_path)
    except ProfileError as error:
        shipped = ", ".join(sorted(path.stem for path in PROFILES.glob("*.json")))
        yield Finding(("experiment", "profile"), f"`experiment.profile`: {error}", f"shipped ones: {shipped}")
        return
    lacking = list(_lacking(profile, name, arms))
    yield from lacking
    yield from _outside(profile, arms, extent, config.experiment.extrapolate)
    if budgeted and not lacking:
        yield from _budget(config, profile, arms, extent)


def _lacking(profile: ServiceProfile, name: str, arms: tuple[Arm, ...]) -> Iterator[Finding]:
    help = (
        "choose one of those, or measure yours: laser-ab profile CONFIG --out mine.json, "
        "then --set experiment.profile=mine.json"
    )
    for arm in arms:
        if arm.serving.store not in profile.store:
            message = f"profile {quote(name)} has no times of store {arm.serving.store!r}; it has those of "
            yield Finding(("arms", arm.name, "store"), message + ", ".join(sorted(profile.store)), help)
        for step in arm.scored_steps:
            if step.model in profile.score or step.name in ("1/2", "1/4"):
                continue
            own = arm.model_of(step) is arm.main
            message = f"profile {quote(name)} has no times of model {step.model!r}; it has those of "
            path = ("arms", arm.name, "model" if own else "light_model")
            yield Finding(path, message + ", ".join(sorted(profile.score)), help)


def _outside(
    profile: ServiceProfile, arms: tuple[Arm, ...], extent: Extent, extrapolate: bool
) -> Iterator[Finding]:
    """Beyond what was measured: refused, unless the times of the grid's edge may stand in, too fast ones."""
    for arm in arms:
        model = _own(arm)
        cells = profile.score.get(model)
        if cells is None:
            continue
        histories, candidates, batches = zip(*cells, strict=True)
        for path, found, most in (
            (("arms", arm.name, "history"), min(arm.settings.history, extent.longest), max(histories)),
            (("traffic", "world", "candidates"), extent.candidates, max(candidates)),
            (("arms", arm.name, "max_batch"), arm.settings.max_batch, max(batches)),
        ):
            # A model that reads no history was measured at a single length.
            if found > most > 1:
                message = f"arm {arm.name}: {path[-1]} is {found:,}, and the profile measured {model} "
                message += f"up to {most:,}"
                help = "measure it: laser-ab profile CONFIG --out mine.json, ask for less, or set "
                help += "experiment.extrapolate = true"
                if extrapolate:
                    message += f": the times of {most:,} stand in, which are too short"
                    help = "measure it: laser-ab profile CONFIG --out mine.json"
                yield Finding(path, message, help, warning=extrapolate)


def _budget(
    config: ExperimentConfig, profile: ServiceProfile, arms: tuple[Arm, ...], extent: Extent
) -> Iterator[Finding]:
    """Whether the arms can answer within the budget, where nothing waits and histories are shortest."""
    budget_s = _most_budget_s(config, profile, arms, extent)
    if budget_s is None:
        return
    auto = config.experiment.budget_ms == "auto"
    budget = f"the budget is {'at most about ' if auto else ''}{_ms(budget_s)}"
    for arm in arms:
        own, any_s = _least_s(arm, profile, extent)
        wait_s = arm.serving.max_wait_s
        if own + wait_s <= budget_s:
            continue
        help = f"experiment.budget_ms of at least {_ms(own + wait_s)}"
        if wait_s > 0 and own <= budget_s:
            key: KeyPath = ("arms", arm.name, "max_wait_ms")
            message = f"arm {arm.name} allows {_ms(wait_s)} for a batch to fill, and {budget}: "
            message += "no request could be scored in time"
            yield Finding(key, message, "a shorter max_wait_ms, or " + help)
        elif any_s + wait_s > budget_s:
            message = (
                f"the fastest answer of arm {arm.name} takes about {_ms(any_s + wait_s)}, and {budget}: "
            )
            message += "every request would get the prior order, that of the log's click rates"
            yield Finding(("experiment", "budget_ms"), message, help)
        else:
            message = f"arm {arm.name}'s own model takes at least about {_ms(own + wait_s)}, and {budget}: "
            message += "only its light model would ever answer"
            yield Finding(("experiment", "budget_ms"), message, help, warning=True)


def budget_most_ms(config: ExperimentConfig) -> float | None:
    """The budget, or about the most that "auto" becomes; None for no deadline, or where it will be measured.

    Raises:
        SimulatorError: the profile cannot be read, or lacks an arm's store or model.
    """
    if config.experiment.budget_ms != "auto":
        budget_s = config.experiment.budget_s
    elif config.experiment.service_times == "live":
        return None
    else:
        profile = load(config.experiment.profile_path)
        budget_s = _most_budget_s(config, profile, arms_of(config), extent_of(config))
    return None if budget_s is None else budget_s * 1000.0


def _most_budget_s(
    config: ExperimentConfig, profile: ServiceProfile, arms: tuple[Arm, ...], extent: Extent
) -> float | None:
    """The budget; where it is "auto", which follows from the trace's histories, about its most."""
    if config.experiment.budget_ms != "auto":
        return config.experiment.budget_s
    slowest_s = 0.0
    for arm in arms:
        times = ProfilePredictions(profile, arm.serving, extent.candidates, extrapolate=True)
        history = min(arm.settings.history, extent.longest)
        total_s = times.predict_store_s(history) + times.predict_transport_s(history)
        slowest_s = max(slowest_s, total_s + times.predict_score_s(_own(arm), history, 1))
    return AUTO_BUDGET * slowest_s


def _least_s(arm: Arm, profile: ServiceProfile, extent: Extent) -> tuple[float, float]:
    """Mean seconds of the fastest step with the arm's own model, and of the fastest with any, unqueued."""
    times = ProfilePredictions(profile, arm.serving, extent.candidates, extrapolate=True)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for step in arm.scored_steps:
        history = min(step.history, extent.shortest)
        total_s = times.expected_fetch_s(history) + times.expected_score_s(step.model or "", history, 1)
        seconds[arm.model_of(step) is arm.main].append(total_s)
    return min(seconds[True]), min(seconds[True] + seconds[False])


def _own(arm: Arm) -> str:
    """The profile's name of the arm's own model."""
    return arm.serving.full.model or ""


def _ms(seconds: float) -> str:
    return ms(seconds * 1000.0)
