"""Times of the lake: always UTC, as text in RFC 3339; pure."""

from datetime import UTC, datetime


def utc(value: datetime) -> datetime:
    """The time in UTC; one without a zone is UTC already."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def parse_utc(text: str) -> datetime:
    """Parses a day or a time typed by a person or given in a URL; UTC unless it names a zone.

    >>> parse_utc("2026-10-01")
    datetime.datetime(2026, 10, 1, 0, 0, tzinfo=datetime.timezone.utc)

    Raises:
        ValueError: it is neither.
    """
    return utc(datetime.fromisoformat(text))


def format_time(value: datetime) -> str:
    """RFC 3339 with six fraction digits and ``Z``, as in every JSON of the lake.

    >>> format_time(datetime(2026, 10, 1, tzinfo=UTC))
    '2026-10-01T00:00:00.000000Z'
    """
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
