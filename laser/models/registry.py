"""From a configuration to a model: built-in kinds, installed plug-ins, dotted paths."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points

import torch

from laser.errors import ModelError
from laser.models.model import ModelConfig, RankingModel

ENTRY_POINTS = "laser_ab.models"
BUILT_IN = {
    "base": "laser.models.base:Base",
    "din": "laser.models.din:Din",
    "sim": "laser.models.sim:Sim",
    "twin": "laser.models.twin:Twin",
    "transformer": "laser.models.transformer:Transformer",
    "hstu": "laser.models.hstu:Hstu",
    "laser": "laser.models.laser:Laser",
    "stca": "laser.models.stca:Stca",
    "vista": "laser.models.vista:Vista",
    "vql": "laser.models.vql:Vql",
    "counts": "laser.training.counts:Counts",
}


def build_model(config: ModelConfig, seed: int) -> RankingModel:
    """Build the model that `config` describes, with weights drawn from `seed` alone.

    The global generator is left as it was.

    Raises:
        ModelError: the kind is unknown or does not build a RankingModel, or an option is unknown.
    """
    model_class = _model_class(config.kind)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model_class(config)


def _model_class(kind: str) -> Callable[[ModelConfig], RankingModel]:
    path = BUILT_IN.get(kind, kind if ":" in kind else None)
    if path is None:
        plugins = {plugin.name: plugin for plugin in entry_points(group=ENTRY_POINTS)}
        if kind not in plugins:
            raise ModelError(
                f"model kind {kind!r} is unknown, expected one of {sorted({*BUILT_IN, *plugins})} "
                'or a dotted path "package.module:Class".'
            )
        path = plugins[kind].value
    module, _, name = path.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"model kind {kind!r} leads to {path!r}, which cannot be imported: {error}. Expected "
            '"package.module:Class" of an installed package, or of a folder on PYTHONPATH.'
        ) from error
    if not (isinstance(found, type) and issubclass(found, RankingModel)):
        raise ModelError(f"model kind {kind!r} leads to {found!r}, expected a subclass of RankingModel.")
    model_class: Callable[[ModelConfig], RankingModel] = found
    return model_class
