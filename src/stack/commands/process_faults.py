"""What is wrong with a lake, judged by its processes, its feed, its consumer's lag and its disk; pure."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from stack.commands.feed_status import FeedReport

MAX_SILENCE_S = 60.0
MAX_LAG = 50_000
# So many messages set aside within the time that `MAX_LETTERS` counts are no passing accident.
MAX_LETTERS = 10
LETTERS_MIN = 10
MIN_FREE_RATIO = 0.1


class Probed(Protocol):
    """A process as it was found."""

    @property
    def state(self) -> str: ...

    @property
    def healthy(self) -> bool: ...

    @property
    def detail(self) -> str: ...

    @property
    def lag(self) -> int | None: ...


def process_faults(
    processes: Mapping[str, Probed], feed: FeedReport | None, free_ratio: float, letters: int
) -> list[str]:
    """One line per fault, with the remedy.

    Args:
        feed: None while the producer does not answer, which is a fault of its own.
        free_ratio: free share of the disk under QuestDB.
        letters: how many messages were set aside in the last `LETTERS_MIN` minutes.
    """
    found = [
        f"{name} is not healthy ({one.detail or one.state}): see tradelake logs {name}"
        for name, one in processes.items()
        if not one.healthy
    ]
    found += _feed_faults(feed) if feed is not None else ()
    found += [
        f"{name} is {one.lag:,} messages behind Kafka: see docs/runbooks/lag.md"
        for name, one in processes.items()
        if one.lag is not None and one.lag > MAX_LAG
    ]
    if letters > MAX_LETTERS:
        found.append(f"{letters} messages were set aside in {LETTERS_MIN} min: tradelake dead-letters list")
    if free_ratio < MIN_FREE_RATIO:
        found.append(f"only {free_ratio:.1%} of the disk is free: see docs/runbooks/questdb-full.md")
    return found


def _feed_faults(feed: FeedReport) -> Iterator[str]:
    remedy = "see docs/runbooks/feed-down.md"
    if not feed.connected:
        yield f"the feed is not connected: {remedy}"
    elif feed.last_frame_s is not None and feed.last_frame_s > MAX_SILENCE_S:
        yield f"the feed is silent: the last frame came {feed.last_frame_s:.0f} s ago: {remedy}"
    for key, state in feed.subscriptions.items():
        if state == "refused":
            yield f"the exchange refuses {key}: {remedy}"
