"""Decides where the consumer starts in each partition, reports lost positions, and trims the log."""

import logging
import time
from collections.abc import Mapping, Sequence, Set

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from features.table import SILVER
from ingestion.consumer import stored_positions
from ingestion.kafka_log.batches import ORIGINS
from ingestion.kafka_log.epochs import epoch_of
from ingestion.kafka_log.position import Position
from lakehouse.errors import FatalError
from lakehouse.schema import BRONZE_QUOTES, BRONZE_TRADES
from lakehouse.settings import EVENTS_TOPIC, HISTORY_TOPIC, Settings
from lakehouse.stores import bronze, kafka
from lakehouse.stores.questdb import QuestDB

log = logging.getLogger(__name__)
# What each partition of market.events fills: it is never without quotes for long.
LIVE_TABLES = (BRONZE_TRADES.name, BRONZE_QUOTES.name, SILVER.name)
StartOffsets = dict[tuple[str, int], Position]


def start_offset(committed: int | None, low: int, high: int, held: int, where: str) -> int:
    """The offset to resume from.

    Args:
        committed: the group's committed offset; None if the group is new or lost it.
        low: the oldest offset in Kafka.
        high: the offset of the next message to be written.
        held: one past the newest offset in bronze; 0 if bronze holds none.
        where: the partition's name for the error.

    Without a usable committed offset the whole log is read again, which is harmless: rows in bronze are recognised.
    Messages that are in neither Kafka nor bronze raise an error.
    """
    if committed is not None and committed > high:
        raise FatalError(
            f"{where}: committed up to {committed}, but Kafka ends at {high}: it lost its newest messages, which "
            "bronze holds. To continue with what Kafka has: tradelake accept-loss"
        )
    if committed is not None and committed >= low:
        return committed
    expected = max(held, committed or 0)
    if low > expected:
        raise FatalError(
            f"{where}: Kafka starts at {low}, but only messages below {expected} are known to be in bronze, and nobody "
            f"but the consumer may delete messages. Restore Kafka's log, or give up {low - expected} messages: "
            "tradelake accept-loss"
        )
    if committed is None and low < high and held:
        log.warning("%s: no committed offset; reading again from %d; rows already in bronze are skipped", where, low)
    return low


def resumable(committed: int, recorded: int | None, low: int, held: int, where: str) -> int:
    """The commit, or the older position that QuestDB really holds: its folder may be an earlier copy.

    Args:
        committed: the group's committed offset, at most the end of the log.
        recorded: the position in `meta_positions`; None if QuestDB has recorded none in this epoch.
        low: the oldest offset in Kafka.
        held: one past the newest offset in bronze, which stands in for a position that was never recorded.
        where: the partition's name for the log.

    Raises:
        FatalError: Kafka no longer has what QuestDB lost.
    """
    if recorded is None:
        # A lake from before positions were recorded; its log below `low` was trimmed because bronze held it.
        place = min(committed, max(low, held))
    elif recorded < low < committed:
        raise FatalError(
            f"{where}: QuestDB holds only messages below {recorded}, an older copy of its folder, and Kafka starts "
            f"at {low}. Restore QuestDB or Kafka's log, or give up {low - recorded} messages: "
            "tradelake accept-loss"
        )
    else:
        place = min(committed, recorded)
    if place < committed:
        log.warning("%s: committed up to %d, but QuestDB holds %d; reading again from there", where, committed, place)
    return place


def start_offsets(
    client: Consumer, questdb: QuestDB, epochs: dict[str, int], partitions: Sequence[TopicPartition], count: int
) -> StartOffsets:
    """Where to start in each partition.

    Args:
        epochs: each topic's epoch.
        count: partitions per topic.

    Raises:
        RetryableError: a server is down. FatalError: a position was lost; the message has the remedy.
    """
    offsets = kafka.committed(client, partitions)
    recorded = stored_positions.stored(questdb, epochs)
    live = {name: _partitions_in(questdb, name, count) for name in LIVE_TABLES}
    found: StartOffsets = {}
    for part in partitions:
        key = (part.topic, part.partition)
        low, high = kafka.watermarks(client, part)
        committed, held = offsets[key], 0
        where = f"{part.topic}/{part.partition}"
        lost = lost_tables(live, part.partition) if part.topic == EVENTS_TOPIC else []
        if lost and committed is not None and low < committed <= high:
            log.warning("%s: %s lost what was committed up to %d; reading again", where, ", ".join(lost), committed)
            committed = None
        if recorded.get(key, 0) > high:
            # Kafka's folder is an earlier copy: the commit went back with the log, QuestDB's position did not.
            committed = recorded[key]
        if committed is None or committed < low or key not in recorded:
            held = _held(questdb, epochs[part.topic], ORIGINS[part.topic], part.partition, count)
        if committed is not None and committed <= high:
            committed = resumable(committed, recorded.get(key), low, held, where)
        found[key] = Position(epochs[part.topic], start_offset(committed, low, high, held, where))
    return found


def lost_tables(live: Mapping[str, Set[int]], partition: int) -> list[str]:
    """The tables that were recreated, judging by the rows of the others; all of them if none has any row.

    QuestDB acknowledges writes for a short while after a table is dropped, so the committed offset may be too high.

    Args:
        live: per table, the partitions that have live rows in it.
    """
    known = any(partition in partitions for partitions in live.values()) or not any(live.values())
    return [name for name, partitions in live.items() if known and partition not in partitions]


def _partitions_in(questdb: QuestDB, table: str, count: int) -> set[int]:
    questdb.wait_applied([table])
    rows = questdb.rows(f"SELECT symbol FROM {table} WHERE origin = 'live' LATEST ON ts PARTITION BY symbol")
    return {kafka.partition_of(symbol, count) for (symbol,) in rows}


def trim(client: Consumer, admin: AdminClient, partitions: Sequence[TopicPartition], keep_hours: int) -> int:
    """Deletes messages that are both committed (hence in bronze) and older than ``keep_hours``.

    Returns:
        The number of partitions that lost messages.
    """
    committed = kafka.committed(client, partitions)
    since = int((time.time() - keep_hours * 3600) * 1000)
    try:
        wanted = [TopicPartition(p.topic, p.partition, since) for p in partitions]
        recent = client.offsets_for_times(wanted, timeout=kafka.TIMEOUT_S)
        below = []
        for part in recent:
            done = committed[part.topic, part.partition] or 0
            # If no message is that recent, Kafka returns the end of the log as a negative number.
            until = min(done, part.offset) if part.offset >= 0 else done
            if until > kafka.watermarks(client, part)[0]:
                below.append(TopicPartition(part.topic, part.partition, until))
        for future in admin.delete_records(below).values() if below else ():
            future.result()
    except KafkaException as error:
        raise kafka.kafka_error(error, "Kafka, trimming the log") from error
    return len(below)


def _held(questdb: QuestDB, epoch: int, origin: str, partition: int, count: int) -> int:
    """One past the newest offset of the partition that bronze holds."""
    questdb.wait_applied(bronze.TABLES)
    newest = 0
    for table in bronze.TABLES:
        query = f"SELECT symbol, max(seq) FROM {table} WHERE epoch = %s AND origin = %s GROUP BY symbol"
        for symbol, seq in questdb.rows(query, (epoch, origin)):
            if kafka.partition_of(symbol, count) == partition:
                newest = max(newest, seq + 1)
    return newest


def accept_loss(settings: Settings) -> dict[str, list[str]]:
    """Resets lost positions to what Kafka has; stop every consumer first.

    Returns:
        The messages given up, one line per partition.

    Raises:
        RetryableError: a server is down.
    """
    kafka.reach(settings)
    questdb, client = QuestDB(settings), kafka.consumer(settings)
    ids = kafka.topic_ids(kafka.admin(settings), (EVENTS_TOPIC, HISTORY_TOPIC))
    epochs = {topic: epoch_of(questdb, topic, number) for topic, number in ids.items()}
    count = settings.kafka_partitions
    given_up = []
    for part in [TopicPartition(topic, number) for topic in epochs for number in range(count)]:
        try:
            start_offsets(client, questdb, epochs, [part], count)
        except FatalError as error:
            low, high = kafka.watermarks(client, part)
            key = (part.topic, part.partition)
            committed = kafka.committed(client, [part])[key]
            recorded = stored_positions.stored(questdb, epochs).get(key, 0)
            place = place_after_loss(committed, recorded, low, high)
            _commit(client, TopicPartition(part.topic, part.partition, place))
            accepted = {key: Position(epochs[part.topic], place)}
            stored_positions.store(questdb, accepted)
            given_up.append(f"{error}; now at {place}")
    client.close()
    questdb.close()
    return {"given_up": given_up}


def place_after_loss(committed: int | None, recorded: int, low: int, high: int) -> int:
    """Where to go on once the loss is accepted: nothing that Kafka still has for us is skipped.

    Args:
        committed: the group's committed offset.
        recorded: the position in QuestDB, 0 if there is none.
        low: the oldest offset in Kafka.
        high: the end of the log.
    """
    if committed is not None and committed > high:
        return high
    # The commit went back together with the log: what was written since then lies above it.
    return max(low, committed or 0) if recorded > high else low


def _commit(client: Consumer, place: TopicPartition) -> None:
    try:
        client.commit(offsets=[place], asynchronous=False)
    except KafkaException as error:
        raise kafka.kafka_error(error, f"Kafka, committing {place.topic}/{place.partition}") from error
