"""A mapping file: which column of somebody's files is which field of a log. Its tables as models.

A field is a column's name, or a table with more: `user = "uid"`, `time = {column = "ts", unit = "iso"}`.
Instead of a column it may be an expression over the raw columns of a row: `click = {sql = "kind = 'buy'"}`.
Columns of delimited text and JSON lines are text there; a column of Parquet has its own type.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from simulator.config.table import problem
from simulator.traffic.behaviours import CLICK, DEEP, SHORT

Unit = Literal["s", "ms", "us", "ns", "iso"]
#: What an action may be called in a mapping file.
ACTION_CODES = {"short": SHORT, "click": CLICK, "deep": DEEP}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Model):
    """A raw column, `items.COLUMN` for one of the items' table, or an SQL expression instead."""

    column: str | None = Field(default=None, description="The column, or `items.COLUMN`.")
    sql: str | None = Field(default=None, description="An expression over the raw columns.")
    table: Literal["items"] | None = Field(default=None, description="Whose columns `sql` reads.")

    @model_validator(mode="after")
    def _one_source(self) -> Column:
        if (self.column is None) == (self.sql is None):
            raise problem("expected either `column` or `sql`")
        return self

    @property
    def of_items(self) -> bool:
        """Whether it is read from the items' table."""
        return self.table == "items" or (self.column or "").startswith("items.")

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.column or self.sql or ""


class Time(Column):
    """When: Unix time in a unit, ISO 8601, or text in a format; local where no offset is given."""

    unit: Unit = "iso"
    format: str | None = Field(default=None, description='Such as "%Y%m%d%H%M%S", in place of a unit.')

    @field_validator("format")
    @classmethod
    def _has_parts(cls, form: str | None) -> str | None:
        if form is not None and "%" not in form:
            raise problem(
                f"found {form!r}, expected a format whose parts begin with %, "
                'such as "%m/%d/%Y" for 11/30/2000 or "%Y-%m-%d %H:%M:%S"'
            )
        return form


class Flag(Column):
    """Yes or no: 0 and 1, true and false; or the values or the least value that mean yes."""

    equals: list[str | int | float] | None = None
    at_least: float | None = None


class Dwell(Column):
    """How long something was looked at."""

    unit: Literal["s", "ms"] = "s"


class Action(Column):
    """What a behaviour was: "short", "click" or "deep", or the raw values that mean them; else "short"."""

    short: list[str | int] = []
    click: list[str | int] = []
    deep: list[str | int] = []

    @model_validator(mode="after")
    def _one_meaning(self) -> Action:
        values = [str(value) for value in (*self.short, *self.click, *self.deep)]
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise problem(f"found {twice} more than once, expected one action for each value")
        return self


class Category(Column):
    """An item's category, numbered in the order of its values."""

    first_of: str | None = Field(default=None, description="The separator of a list, whose first counts.")
    most: int | None = Field(
        default=None, ge=1, le=65_534, description="So many frequent ones; the others become one."
    )


class Advertiser(Column):
    """Whose ad it is."""

    hashed: int | None = Field(default=None, ge=1, le=65_535, description="Into so many advertisers.")


class Scene(Column):
    """Where: numbers 0 to 255 stay, text is numbered, or `values` number it."""

    values: dict[str, int] | None = None


class ListColumn(Column):
    """A list of ids, or text that a separator splits."""

    split: str | None = None


class Money(Column):
    """A bid or price for a thousand impressions, a click or a conversion."""

    unit: Literal["cpm", "click", "conversion"] = "conversion"


def _named(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


_BY_NAME = BeforeValidator(_named)
ColumnField = Annotated[Column, _BY_NAME]
TimeField = Annotated[Time, _BY_NAME]
FlagField = Annotated[Flag, _BY_NAME]
DwellField = Annotated[Dwell, _BY_NAME]
ActionField = Annotated[Action, _BY_NAME]
CategoryField = Annotated[Category, _BY_NAME]
AdvertiserField = Annotated[Advertiser, _BY_NAME]
SceneField = Annotated[Scene, _BY_NAME]
ListField = Annotated[ListColumn, _BY_NAME]
MoneyField = Annotated[Money, _BY_NAME]


class Files(_Model):
    """Files of one form: Parquet, JSON lines or delimited text, plain or gzip, told by their names."""

    files: list[str] = Field(min_length=1, description="Paths or patterns, from the mapping file's folder.")
    columns: list[str] | None = Field(default=None, description="Names, where text has no header.")
    delimiter: str = Field(default=",", min_length=1, description="Of text.")
    quote: str = Field(
        default='"', max_length=1, description='Of text; "" where quotes are plain characters.'
    )
    encoding: Literal["utf-8", "utf-8-sig", "latin-1"] = Field(
        default="utf-8", description="Of text; a mark of UTF-8 at its beginning means nothing."
    )


class Source(Files):
    """The exposures' files, and what is said of them."""

    name: str
    licence: str = "not stated"
    time_zone: str = Field(description='Such as "Europe/Berlin" or "UTC": for hours, days, and local times.')
    where: str | None = Field(default=None, description="SQL over the raw columns: rows to read.")
    first: datetime.date | None = Field(default=None, alias="from", description="First local date.")
    last: datetime.date | None = Field(default=None, alias="to", description="The date after the last.")


class Impressions(_Model):
    """What was shown, a row each; or pages, a row each, with lists of what they showed."""

    each: ListField | None = Field(
        default=None,
        description="A list: each element is a row, `each` at the place `each_place`.",
    )
    user: ColumnField
    time: TimeField
    item: ColumnField
    click: FlagField
    request: ColumnField | None = None
    conversion: FlagField | None = None
    category: CategoryField | None = None
    advertiser: AdvertiserField | None = None
    scene: SceneField | None = None
    action: ActionField | None = None
    dwell: DwellField | None = None
    position: ColumnField | None = None
    candidates: ListField | None = None
    logging_propensity: ColumnField | None = None
    bid: MoneyField | None = None
    price: MoneyField | None = None
    repeats: Literal["first", "merge", "request"] = Field(
        default="first",
        description="Rows of one user, item and time: the first counts, or together: clicked if any was; "
        "or together those of one user, item and request.",
    )
    width: int = Field(default=32, ge=2, le=1024, description="Candidates of a request.")

    @model_validator(mode="after")
    def _requests_are_known(self) -> Impressions:
        if self.repeats == "request" and self.request is None:
            raise problem('repeats = "request" needs the field `request`')
        return self


class Items(Files):
    """A table of the items, a row each."""

    key: str
    department: ColumnField | None = Field(
        default=None,
        description="What an item's category is part of; a category is of that of most of its items.",
    )


class Behaviours(Files):
    """What users did, where that is not the impressions."""

    each: ListField | None = Field(default=None, description="As of the impressions, of a user.")
    user: ColumnField
    time: TimeField
    item: ColumnField | None = None
    category: CategoryField | None = None
    scene: SceneField | None = None
    action: ActionField | None = None
    dwell: DwellField | None = None
    where: str | None = None


class Limits(_Model):
    """How much may be wrong before the log is refused."""

    damaged: float = Field(default=0.01, ge=0, le=1, description="Share of rows, all reasons together.")
    stray_days: float = Field(default=0.001, ge=0, le=1, description="Share of rows beyond empty days.")


class Mapping(_Model):
    """A mapping file."""

    source: Source
    impressions: Impressions
    items: Items | None = None
    behaviours: Behaviours | None = None
    limits: Limits = Limits()
    notes: list[str] = Field(default=[], description="What else was invented; shown with every result.")

    @property
    def category_of_items(self) -> Category | None:
        """The category, where it is read from the items."""
        fields = [self.impressions.category, self.behaviours.category if self.behaviours else None]
        return next((field for field in fields if field and field.of_items), None)
