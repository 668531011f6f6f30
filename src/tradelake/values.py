"""Types of option values: days, times, symbols, numbers; a wrong one is refused with what is wanted."""

import math
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import click

from lakehouse.errors import LakeError
from lakehouse.times import parse_utc


class ParsedValue(click.ParamType[Any]):
    """A value that a function parses; its `ValueError` or `LakeError` becomes a usage error."""

    def __init__(self, name: str, parse: Callable[[str], object], wanted: str = "") -> None:
        self.name = name
        self._parse = parse
        self._wanted = wanted

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        """The parsed value; a default that is no text stays as it is."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except LakeError as error:
            self.fail(str(error), param, context)
        except ValueError:
            self.fail(f"want {self._wanted}, got {value}", param, context)


def _day(text: str) -> date:
    return date.fromisoformat(text)


def _time(text: str) -> datetime:
    return parse_utc(text)


def _symbol(text: str) -> str:
    from lakehouse.symbols import check_symbol

    check_symbol(text)
    return text


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _positive(text: str) -> float:
    if (value := _number(text)) <= 0:
        raise ValueError(text)
    return value


def _seconds(text: str) -> float:
    if (value := _number(text)) < 0:
        raise ValueError(text)
    return value


def _symbols(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _budget(text: str) -> str:
    from forecast.training.tuning import parse_budget

    parse_budget(text)
    return text


def _columns(text: str) -> dict[str, str]:
    from formats.refusal import parse_columns

    return parse_columns(text)


def _zone(text: str) -> str:
    from formats.times import check_zone

    check_zone(text)
    return text


DAY = ParsedValue("YYYY-MM-DD", _day, "a UTC day, YYYY-MM-DD")
TIME = ParsedValue("time", _time, "a date or an RFC 3339 time in UTC")
SYMBOL = ParsedValue("symbol", _symbol)
SYMBOLS = ParsedValue("symbols", _symbols)
POSITIVE = ParsedValue("number", _positive, "a number above 0")
SECONDS = ParsedValue("seconds", _seconds, "a number of seconds, 0 or more")
COLUMNS = ParsedValue("field=column,…", _columns)
ZONE = ParsedValue("zone", _zone)
BUDGET = ParsedValue("budget", _budget, "trials (20), seconds (90s) or 0")
