"""From a configuration to a model: built-in kinds, installed plug-ins, dotted paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import entry_points

import torch

from laser.errors import ModelError, PluginError
from laser.models.model import ModelConfig, RankingModel
from laser.models.plugins import BUILT_IN, ENTRY_POINTS, plugin_code


def build_model(config: ModelConfig, seed: int) -> RankingModel:
    """Build the model that `config` describes, with weights drawn from `seed` alone.

    The global generator is left as it was.

    Raises:
        ModelError: the kind is unknown or does not build a RankingModel, or an option or its value is.
        PluginError: a model of the user's own raised.
    """
    model_class = _model_class(config.kind)
    with (
        plugin_code(config.kind, "while being built"),
        _option_values(config),
        torch.random.fork_rng(devices=[]),
    ):
        torch.manual_seed(seed)
        model = model_class(config)
    if not isinstance(getattr(model, "config", None), ModelConfig):
        raise PluginError(
            f"model plug-in {config.kind!r} has no config after it was built, expected its ModelConfig. "
            "Call super().__init__(config, attended=...) in its __init__."
        )
    return model


@contextmanager
def _option_values(config: ModelConfig) -> Iterator[None]:
    """Options come from a user's file: what a built-in model cannot be built with is the user's mistake."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        if config.kind not in BUILT_IN or not config.options:
            raise
        raise ModelError(
            f"model {config.kind!r} cannot be built with options {config.options}: {error}. "
            "Correct a value; docs/models.md has each option's meaning."
        ) from error


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
    with plugin_code(kind, "while being imported"):
        try:
            found = getattr(import_module(module), name)
        except ImportError as error:
            raise ModelError(_not_importable(kind, path, error)) from error
        except AttributeError as error:
            raise ModelError(
                f"model kind {kind!r} leads to {path!r}: {error}. Expected a class of that name."
            ) from error
    if not (isinstance(found, type) and issubclass(found, RankingModel)):
        raise ModelError(f"model kind {kind!r} leads to {found!r}, expected a subclass of RankingModel.")
    model_class: Callable[[ModelConfig], RankingModel] = found
    return model_class


def _not_importable(kind: str, path: str, error: ImportError) -> str:
    module = path.partition(":")[0]
    if error.name and module != error.name and not module.startswith(f"{error.name}."):
        return (
            f"model plug-in {kind!r} needs {error.name!r}, which cannot be imported: {error}. "
            "Install it in the environment of laser-ab."
        )
    return (
        f"model kind {kind!r} leads to {path!r}, which cannot be imported: {error}. Expected "
        '"package.module:Class" of an installed package, or of a folder on PYTHONPATH.'
    )
