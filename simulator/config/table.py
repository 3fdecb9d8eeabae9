"""What every table of the experiment file is, and an error that speaks in this project's words."""

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class Table(BaseModel):
    """A table of the file: frozen, without unknown keys, without silent conversions ("7" is no number)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def problem(message: str, at: str | None = None) -> PydanticCustomError:
    """An error whose message stands as it is; `at` is the dotted key when it is not the validated one."""
    # A template with one field: braces in the message itself would be read as fields.
    return PydanticCustomError("value", "{text}", {"text": message, "at": at})
