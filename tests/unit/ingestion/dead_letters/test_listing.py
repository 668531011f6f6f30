"""Listing of the dead-letter topic: letters with their receipts, also where one of the two has expired."""

from collections.abc import Iterator
from typing import cast

import pytest
from confluent_kafka import Consumer

from ingestion.dead_letters import listing


class Sent:
    """A message of the topic."""

    def __init__(self, offset: int, **headers: str) -> None:
        self._offset = offset
        self._headers = [(name, value.encode()) for name, value in headers.items()]

    def offset(self) -> int:
        return self._offset

    def headers(self) -> list[tuple[str, bytes]]:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_790_000_000_000

    def value(self) -> bytes:
        return b"{}"


def test_a_receipt_outlives_its_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [Sent(7, replayed="3"), Sent(8, reason="unparsable"), Sent(9, reason="future"), Sent(10, replayed="8")]

    def messages(*_: object) -> Iterator[Sent]:
        return iter(kept)

    monkeypatch.setattr(listing, "messages", messages)
    monkeypatch.setattr(listing, "bounds", lambda *_: {})
    found = listing.read(cast("Consumer", None))
    assert [(one.number, one.reason, one.replayed) for one in found] == [(8, "unparsable", True), (9, "future", False)]
