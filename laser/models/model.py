"""What every ranking model is: a configuration, a shared category table, a head, a reading of history."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from laser.attention.look_up import embedded
from laser.batch import RankingBatch
from laser.errors import ModelError, PluginError
from laser.models.heads.build import HEAD_OPTIONS, build_head
from laser.models.history import KIND_WIDTH, category_table
from laser.models.reading import ActivationReading

#: Options that every model has. short: newest behaviours that a DIN reads beside the model, as the production
#: ranker of LASER, arXiv:2602.11562, does; 0 leaves it out. short_hidden: units of that DIN's activation
#: unit. departments: the department of each category, whose row of the shared table is then the sum of its
#: own and one that the department shares (`laser.models.history.category_table`); None: its own alone.
SHARED_OPTIONS: dict[str, Any] = {**HEAD_OPTIONS, "short": 0, "short_hidden": 32, "departments": None}

_SIZES = ("categories", "ads", "scenes", "actions", "width")


@dataclass(frozen=True)
class ModelConfig:
    """What it takes to build a model; survives JSON.

    Attributes:
        kind: a built-in name, an entry point of group "laser_ab.models", or a dotted path
            "package.module:Class".
        categories, ads, scenes, actions: how many ids of each there are; ids run from 0.
        width: D, the width of the embeddings.
        options: the model's own switches; unknown ones are refused when it is built.
    """

    kind: str
    categories: int
    ads: int
    scenes: int
    actions: int
    width: int = 16
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in _SIZES:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ModelError(
                    f"{name} is {value!r}, expected a whole number of 1 or more. Count the ids from 0."
                )

    def to_json(self) -> str:
        """The configuration as JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Read what `to_json` wrote.

        Raises:
            ModelError: not JSON, or not a configuration.
        """
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ModelError(
                f"not a model configuration: {error}. Expected the fields of ModelConfig."
            ) from error


def choose(kind: str, defaults: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The model's options over its defaults; those that every model has (SHARED_OPTIONS) are left to the
    base class.

    Raises:
        ModelError: an option the model does not have.
    """
    unknown = sorted(set(options) - set(defaults) - set(SHARED_OPTIONS))
    if unknown:
        known = sorted({*defaults, *SHARED_OPTIONS})
        raise ModelError(f"model {kind!r} has no option {unknown}, expected some of {known}.")
    return {**defaults, **{name: value for name, value in options.items() if name in defaults}}


class RankingModel(nn.Module):
    """Scores candidates. A subclass reads the history in `attend` and leaves the rest to this class.

    The candidate enters the attention as the embedding of its category, from the table that the history uses
    too: what an ad and a behaviour have in common is the category.
    """

    #: The model's own options with their defaults; see `choose`.
    OPTIONS: ClassVar[dict[str, Any]] = {}
    #: Parameters, by prefix of their names, by which a candidate recognises behaviours: at the full learning
    #: rate they drift and every match blurs, so training gives them a share of it (`TrainConfig.table_rate`).
    RECOGNISES: ClassVar[tuple[str, ...]] = ("category.",)
    #: Memory grows with the square of the history, so training takes it in smaller chunks.
    SELF_ATTENTION: ClassVar[bool] = False
    #: Histories are read through `align`, `newest`, `older` and `only_scenes` alone, so that a batch whose
    #: places are partly empty (`laser.aligned.AlignedBatch`) scores like any other. A class says so for
    #: itself, it is not inherited; one that does not is scored request by request.
    FIXED_SHAPES: ClassVar[bool] = False

    def __init__(self, config: ModelConfig, attended: int) -> None:
        """Build the shared parts.

        Args:
            config: sizes and options.
            attended: width of what `attend` returns, 0 if the model reads no history.

        Raises:
            ModelError: an option that is neither in OPTIONS nor shared by all models.
        """
        super().__init__()
        choose(config.kind, self.OPTIONS, config.options)
        self.config = config
        self.attended = attended
        shared = {**SHARED_OPTIONS, **{k: v for k, v in config.options.items() if k in SHARED_OPTIONS}}
        self.category = category_table(config.categories, config.width, shared["departments"])
        self.short_length = _whole("short", shared["short"])
        short_width = config.width + KIND_WIDTH if self.short_length else 0
        self.head = build_head(config.ads, config.categories, attended + short_width, shared)
        self.beside = (
            ActivationReading(
                config.width,
                config.actions,
                config.scenes,
                hidden=shared["short_hidden"],
                whole=True,
                pairs=True,
            )
            if self.short_length
            else None
        )

    def attend(self, batch: RankingBatch, target: Tensor) -> Tensor | None:
        """What the histories say about the candidates.

        Args:
            batch: the requests.
            target: (B, C, D) embeddings of the candidates' categories.

        Returns:
            (B, C, attended) float32 on the batch's device, or None if the model reads no history.
        """
        return None

    @property
    def summary_bytes(self) -> int:
        """What a server keeps of a user in place of the history: the bytes of `summarise`'s result for one
        request; 0 for a model that needs the history itself."""
        return 0

    def look_at(self, batch: RankingBatch) -> None:
        """See a first batch before training, for a model whose beginning follows from data."""

    def multiply_out(self) -> None:
        """Prepare what follows from the weights alone, for a GPU whose weights will never change.

        Called within the `fused` that it will score within: it says what kernels multiply.
        """

    def auxiliary_loss(self, clicks: Tensor, weights: Tensor) -> Tensor | None:
        """What training minimises beside the click loss of the last batch, summed over its candidates.

        Called once after each `forward` in training mode; the sum and not the mean, so that chunks add up.

        Args:
            clicks: (B, C) float32, the labels.
            weights: (B, C) float32, what each candidate's loss counts, 0 where there is no candidate.

        Returns:
            A scalar, or None for a model that has no other loss.
        """
        return None

    def forward(self, batch: RankingBatch) -> Tensor:
        """Logits of a click, (B, C) float32; -inf for candidates beyond candidate_count."""
        target = embedded(self.category.weight, batch.ad_category)
        attended = self.attend(batch, target)
        self._check_attended(attended, target)
        if self.beside is not None:
            read = self.beside(batch.newest(self.short_length), self.category.weight, target)
            attended = read if attended is None else torch.cat([attended, read], dim=2)
        logits: Tensor = self.head(batch, attended)
        if batch.full:
            return logits
        index = torch.arange(batch.candidates, device=logits.device)
        return logits.masked_fill(index >= batch.candidate_count.unsqueeze(1), -torch.inf)

    def _check_attended(self, attended: object, target: Tensor) -> None:
        """Refuse what the head cannot read; a few microseconds.

        Raises:
            PluginError: `attend` broke its promise.
        """
        if attended is None and self.attended == 0:
            return
        expected = (*target.shape[:2], self.attended)
        if (
            isinstance(attended, Tensor)
            and attended.shape == expected
            # Under autocast the products come in the shorter float.
            and (attended.dtype is torch.float32 or torch.is_autocast_enabled(target.device.type))
            and attended.device == target.device
        ):
            return
        found = (
            f"{tuple(attended.shape)} {str(attended.dtype).removeprefix('torch.')} on {attended.device}"
            if isinstance(attended, Tensor)
            else f"a {type(attended).__name__}"
        )
        raise PluginError(
            f"model {self.config.kind!r}: attend returned {found}, expected (B, C, attended) = {expected} "
            f"float32 on the batch's device, {target.device}. Correct attend, or the `attended` given to "
            "super().__init__."
        )


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ModelError(f"{name} is {value!r}, expected a whole number of 0 or more.")
    return value
