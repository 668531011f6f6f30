"""Times as files write them, in UTC microseconds: epochs of any unit, ISO in any variant, and local formats; pure."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import polars as pl

from formats.refusal import DateOrder, ReadOptions, RefusedFileError

TIME = pl.Datetime("us", "UTC")
# Before the first market there was nothing to record.
EARLIEST = datetime(2009, 1, 1, tzinfo=UTC)
# Epoch times below these are seconds, milliseconds, microseconds, nanoseconds in turn; each value for itself.
_UNITS = ((1e11, 1_000_000.0), (1e14, 1_000.0), (1e17, 1.0))
_DATE = r"^\d{1,2}([./-])\d{1,2}[./-]\d{4}"
_LOCAL = _DATE + r"[ ,T]+\d{1,2}:\d{2}"
# A number that a spreadsheet has shortened: fewer digits than its exponent calls for.
SHORTENED = r"^\d(?:[.,]\d{1,8})?[eE]\+?(?:0?9|1\d)$"
_OFFSET = r"([+-])(\d{2}):?(\d{2})?$"
_ISO_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d %I:%M:%S %p")
_DAY_FORMATS: dict[DateOrder, str] = {"dmy": "%d/%m/%Y", "mdy": "%m/%d/%Y", "ymd": "%Y/%m/%d"}
_CLOCKS = ("%H:%M:%S%.f", "%H:%M", "%I:%M:%S %p", "%I:%M %p")
_ZONED = r"(Z|UTC|GMT)$|\d{2}:\d{2}.*[+-]\d{2}:?(\d{2})?$"
Form = Literal["typed", "epoch", "iso", "local"]


@dataclass(frozen=True, slots=True)
class TimeRule:
    """How the times of a file are read.

    Attributes:
        form: timestamps of a typed file, numbers since 1970, ISO text, or dates as a country writes them.
        tz: the zone of text that names none.
        order: of day, month and year in a local format.
        assumed: nobody said what zone they are in: they are taken as UTC.
        repeated: what a wall-clock time of an hour that comes twice is: no time, or the first of the two.
    """

    form: Form
    tz: str = "UTC"
    order: DateOrder = "dmy"
    assumed: bool = False
    repeated: Literal["null", "earliest"] = "null"


def rule_of(times: pl.Series, options: ReadOptions) -> TimeRule:
    """How a sample of times is read.

    Raises:
        RefusedFileError: the column holds no times, or says too little to be read in one way only.
    """
    dtype, column = times.dtype, times.name
    if isinstance(dtype, pl.Datetime):
        return TimeRule("typed", options.tz or "UTC", assumed=dtype.time_zone is None and options.tz is None)
    if dtype.is_numeric():
        return TimeRule("epoch")
    if dtype not in (pl.String, pl.Null):
        raise RefusedFileError(f"column {column} holds {dtype}, want times of day and date")
    values = times.cast(pl.String).str.strip_chars().drop_nulls()
    values = values.filter(values != "")
    local = values.filter(values.str.contains(_LOCAL))
    if 2 * local.len() > values.len():
        return _local(column, local, options)
    numbers = values.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
    if 2 * numbers.is_not_null().sum() >= max(1, values.len()):
        return TimeRule("epoch")
    zoned = (
        values.str.contains(r"(Z|UTC|GMT)$").any() or values.str.contains(r"\d{2}:\d{2}.*[+-]\d{2}:?(\d{2})?$").any()
    )
    return TimeRule("iso", options.tz or "UTC", assumed=options.tz is None and not zoned)


def _local(column: str, values: pl.Series, options: ReadOptions) -> TimeRule:
    first = str(values[0])
    order = options.date_order or _order(values)
    if order is None:
        raise RefusedFileError(
            f"column {column}: {first!r} may be a day of either month: say --date-order dmy or mdy"
            + ("" if options.tz else ", and --tz UTC (or the zone they are in)")
        )
    if options.tz is None:
        raise RefusedFileError(
            f"column {column}: {first!r} is a local time of no zone: say --tz UTC (or the zone, e.g. Europe/Berlin), "
            "or write times in ISO as 2024-03-05T12:00:00Z"
        )
    return TimeRule("local", options.tz, order)


def _order(values: pl.Series) -> DateOrder | None:
    parts = values.str.extract_groups(r"^(\d{1,2})([./-])(\d{1,2})").struct.unnest()
    first, second = parts["1"].cast(pl.Int64), parts["3"].cast(pl.Int64)
    if (first > 12).any():
        return "dmy"
    if (second > 12).any():
        return "mdy"
    return "dmy" if (parts["2"] == ".").all() else None


def read_times(column: pl.Series, rule: TimeRule) -> pl.Series:
    """UTC times; null for what is none."""
    name = column.name
    if isinstance(column.dtype, pl.Datetime):
        zoned = column.dt.convert_time_zone("UTC") if column.dtype.time_zone else _in_zone(column, rule)
        return zoned.cast(TIME).alias("ts")
    if column.dtype == pl.Null:
        return pl.Series("ts", [None] * column.len(), TIME)
    if rule.form == "epoch":
        return _epochs(column).alias("ts")
    text = column.cast(pl.String).str.strip_chars().alias(name)
    if rule.form == "local":
        return _local_times(text, rule).alias("ts")
    return _iso(text, rule).alias("ts")


def _epochs(column: pl.Series) -> pl.Series:
    if column.dtype == pl.String:
        column = column.str.strip_chars()
        shortened = column.str.contains(SHORTENED).fill_null(False)
        if shortened.any():
            column = column.to_frame("v").select(pl.when(~pl.lit(shortened)).then(pl.col("v")))["v"]
    value = pl.col("value").cast(pl.Float64, strict=False)
    micros = value / 1_000.0
    for limit, factor in reversed(_UNITS):
        micros = pl.when(value < limit).then(value * factor).otherwise(micros)
    fits = pl.when(value.is_finite() & (value >= 0) & (micros < 1e16)).then(micros.round(0))
    stamps = column.alias("value").to_frame().select(fits.cast(pl.Int64, strict=False)).to_series()
    return stamps.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _iso(text: pl.Series, rule: TimeRule) -> pl.Series:
    """Plain UTC text goes the short way, anything else is taken to pieces first."""
    plain = text.str.replace(r"^(\d{4}-\d{2}-\d{2})[TD]", "${1} ").str.replace(r"(Z| ?UTC| ?GMT|\+00:?00)$", "")
    quick = plain.str.to_datetime(_ISO_FORMATS[0], time_unit="us", strict=False)
    found = _in_zone(quick, rule) if rule.tz != "UTC" else quick.dt.replace_time_zone("UTC")
    if rule.tz != "UTC":
        zoned = text.str.contains(r"(Z|UTC|GMT|[+-]00:?00)$")
        found = pl.select(pl.when(zoned).then(quick.dt.replace_time_zone("UTC")).otherwise(found)).to_series()
    if not found.null_count():
        return found
    return found.zip_with(found.is_not_null(), _iso_slow(plain, rule))


def _iso_slow(text: pl.Series, rule: TimeRule) -> pl.Series:
    text = text.str.replace_all("/", "-", literal=True).str.replace(r"^(\d{4})(\d{2})(\d{2})[ T]?", "${1}-${2}-${3} ")
    text = text.str.replace(r"(:\d{2}),(\d)", "${1}.${2}").str.replace(r"(\.\d{9})\d+", "${1}")
    offset = text.str.extract_groups(_OFFSET).struct.unnest()
    has_clock = text.str.contains(r"\d:\d{2}")
    sign = offset["1"].replace_strict({"+": 1, "-": -1}, default=None, return_dtype=pl.Int64)
    minutes = offset["2"].cast(pl.Int64) * 60 + offset["3"].cast(pl.Int64).fill_null(0)
    shift = pl.select(pl.when(has_clock).then(sign * minutes)).to_series()
    bare = text.str.replace(r"\s*[+-]\d{2}:?(\d{2})?$", "")
    bare = pl.select(pl.when(shift.is_not_null()).then(bare).otherwise(text)).to_series()
    naive = pl.select(
        pl.coalesce([bare.str.to_datetime(f, time_unit="us", strict=False) for f in _ISO_FORMATS])
    ).to_series()
    ahead = pl.select(pl.duration(minutes=pl.lit(shift.fill_null(0)))).to_series()
    utc = (naive - ahead).dt.replace_time_zone("UTC")
    return pl.select(pl.when(shift.is_not_null()).then(utc).otherwise(_in_zone(naive, rule))).to_series().cast(TIME)


def _local_times(text: pl.Series, rule: TimeRule) -> pl.Series:
    text = text.str.replace_all(r"^(\d{1,4})[.-](\d{1,2})[.-](\d{1,4})", "${1}/${2}/${3}")
    text = text.str.replace(r"^([\d/]+)[ ,T]+", "${1} ").str.replace(r"(?i)\s*([ap])\.?m\.?$", " ${1}M")
    day = _DAY_FORMATS[rule.order]
    naive = pl.select(
        pl.coalesce([text.str.to_datetime(f"{day} {clock}", time_unit="us", strict=False) for clock in _CLOCKS])
    ).to_series()
    return _in_zone(naive, rule)


def come_twice(column: pl.Series, read: pl.Series, rule: TimeRule) -> pl.Series:
    """Which times are none only because clocks that go back show them twice.

    Args:
        read: what `read_times` made of the column.
    """
    if rule.tz == "UTC" or not read.null_count():
        return pl.Series("twice", [False]).new_from_index(0, column.len())
    first = read_times(column, replace(rule, repeated="earliest"))
    return (read.is_null() & first.is_not_null()).alias("twice")


def _in_zone(naive: pl.Series, rule: TimeRule) -> pl.Series:
    """Wall-clock times of a zone as UTC; an hour that the clocks leave out is no time."""
    if rule.tz == "UTC":
        return naive.dt.replace_time_zone("UTC").cast(TIME)
    local = naive.dt.replace_time_zone(rule.tz, ambiguous=rule.repeated, non_existent="null")
    return local.dt.convert_time_zone("UTC").cast(TIME)


def check_zone(tz: str | None) -> None:
    """Refuses a zone that is none, before a file is read.

    Raises:
        RefusedFileError: names the option.
    """
    if tz is not None and (not re.fullmatch(r"[A-Za-z0-9_+/-]+", tz) or not _is_zone(tz)):
        raise RefusedFileError(f"--tz: no such time zone {tz!r}: want a name such as UTC or Europe/Berlin")


def _is_zone(tz: str) -> bool:
    try:
        pl.Series([datetime(2024, 1, 1)]).dt.replace_time_zone(tz)  # noqa: DTZ001
    except pl.exceptions.PolarsError:
        return False
    return True
