"""The errors of this package: ValueErrors that say what was found, what was expected and what to do.

Whoever uses the package can mend them. Any other exception that leaves it, a shape that numpy or torch
refuses among them, is a defect, or an argument that breaks a docstring's promise.
"""

__all__ = ["LaserError", "ModelError", "PluginError", "TrainingError"]


class LaserError(ValueError):
    """Base of every error that is the user's to mend."""


class ModelError(LaserError):
    """A model that cannot be built: an unknown kind or option, or a value that an option cannot take."""


class PluginError(ModelError):
    """A model of the user's own that failed, or does not do what a model promises."""


class TrainingError(LaserError):
    """A training that cannot begin, or that came to nothing."""
