"""Numbers the lives of the Kafka topics: a topic made anew starts a new epoch, and order is (epoch, seq)."""

import time
from datetime import UTC, datetime, timedelta

import polars as pl

from lakehouse.schema import META_EPOCHS
from lakehouse.stores.questdb import QuestDB

# Longer than another consumer needs between reading the numbers given so far and writing its own.
SETTLE_S = 1.0


def epoch_of(questdb: QuestDB, topic: str, topic_id: str) -> int:
    """The number of this life of the topic: the Unix time at which it was first met, or the next number not given yet.

    So a log that a new machine has begun comes after the logs that are restored beside it, whichever is there first.
    Two consumers that meet a new topic at once may claim the same number. The table holds one row per number, so
    one of them finds the other's name there, after both have settled, and takes the next.

    Raises:
        RetryableError: the server is away.
    """
    while True:
        questdb.wait_applied([META_EPOCHS.name])
        known = dict(questdb.rows("SELECT topic_id, max(epoch) FROM meta_epochs"))
        if topic_id in known:
            return int(known[topic_id])
        number = max(int(time.time()), max(known.values(), default=0) + 1)
        ts = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=number)
        row = {"ts": [ts], "topic": [topic], "topic_id": [topic_id], "epoch": [number]}
        questdb.write(META_EPOCHS, pl.DataFrame(row, schema_overrides={"ts": pl.Datetime("us", "UTC")}))
        time.sleep(SETTLE_S)
