"""[traffic.arrivals] and [market.bids]: a column of a file of one's own, in the experiment file's words."""

from typing import Annotated, Literal

from pydantic import Field

from simulator.config.table import Table

Unit = Literal["s", "ms", "us", "ns", "iso"]
Name = Annotated[str, Field(min_length=1)] | Annotated[int, Field(ge=1, le=100_000)]


class FileColumn(Table):
    """One column of a table in a file."""

    file: str = Field(
        min_length=1,
        description="CSV, JSON lines or Parquet, text maybe .gz; relative to this file.",
    )
    column: Name = Field(
        default=1, description="Its name, or its number, counted from 1, where the file has no header."
    )


class Arrivals(FileColumn):
    """When requests come on the timing plane, in place of the traffic's own times."""

    unit: Unit = Field(default="s", description="Of the times: a number of these, or ISO 8601 text.")
