"""Assigns epochs to Kafka topics: a recreated topic starts a new epoch, and (epoch, seq) is the total order."""

import time
from datetime import UTC, datetime, timedelta

import polars as pl

from lakehouse.schema import META_EPOCHS
from lakehouse.stores.questdb import QuestDB

# Longer than another consumer needs between reading the assigned epochs and writing its own.
SETTLE_S = 1.0


def epoch_of(questdb: QuestDB, topic: str, topic_id: str) -> int:
    """The topic's epoch: the Unix time at which it was first seen, or the next free number.

    A log begun on a new machine therefore sorts after logs restored beside it, whichever comes first. Two consumers
    that see a new topic at once may claim the same number. The table holds one row per number, so after a settling
    pause one of them finds the other's entry there and takes the next.

    Raises:
        RetryableError: the server is down.
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
