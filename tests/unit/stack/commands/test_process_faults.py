"""A lake whose processes answer may be ill all the same: one line per fault, none for a lake that is well."""

from dataclasses import replace

import pytest

from stack.commands.feed_status import FeedReport
from stack.commands.process_faults import process_faults
from stack.commands.status_report import ProcessReport

FEED = FeedReport(True, "online", 0.4, {"BTC/USD trade": "delivering"}, {"frozen": 2}, {"BTC/USD": 3})
WELL = ProcessReport("running", True, 7, 60, {}, 1.0, "", lag=12)


def test_a_lake_that_is_well_has_no_fault() -> None:
    assert process_faults({"consumer": WELL}, FEED, 0.5, 0) == []


@pytest.mark.parametrize(
    ("feed", "expected"),
    [
        (replace(FEED, last_frame_s=61.0), "the feed is silent: the last frame came 61 s ago"),
        (replace(FEED, connected=False), "the feed is not connected"),
        (replace(FEED, subscriptions={"BTC/USD trade": "refused"}), "the exchange refuses BTC/USD trade"),
    ],
)
def test_a_feed_that_brings_nothing_is_told(feed: FeedReport, expected: str) -> None:
    (line,) = process_faults({"consumer": WELL}, feed, 0.5, 0)
    assert line.startswith(expected)
    assert "docs/runbooks/feed-down.md" in line


def test_processes_lag_letters_and_disk_are_told_with_the_remedy() -> None:
    processes = {
        "api": replace(WELL, healthy=False, detail="HTTP 503", lag=None),
        "consumer": replace(WELL, lag=50_001),
    }
    assert process_faults(processes, None, 0.099, 11) == [
        "api is not healthy (HTTP 503): see tradelake logs api",
        "consumer is 50,001 messages behind Kafka: see docs/runbooks/lag.md",
        "11 messages were set aside in 10 min: tradelake dead-letters list",
        "only 9.9% of the disk is free: see docs/runbooks/questdb-full.md",
    ]
