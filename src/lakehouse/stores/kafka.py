"""Kafka: clients set up for exactly-once use, topics, their lives (epochs) and positions."""

import logging
from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from confluent_kafka.cimpl import NewTopic

from lakehouse.errors import FatalError, RetryableError
from lakehouse.settings import DEADLETTER_TOPIC, EVENTS_TOPIC, HISTORY_TOPIC, Settings

log = logging.getLogger(__name__)
GROUP = "tradelake"
TIMEOUT_S = 10.0
# The largest message, dead letters included: they carry what the market topics took (1 MiB, but packed) whole.
LARGEST_BYTES = 8 * 2**20
_NOT_OURS_TO_SET = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.POLICY_VIOLATION, KafkaError.INVALID_CONFIG)
LARGE = {"max.message.bytes": str(LARGEST_BYTES)}


def bootstrap(settings: Settings) -> str:
    """``host:port`` of the first broker to ask."""
    return f"{settings.kafka_host}:{settings.kafka_port}"


def kafka_error(error: KafkaException | KafkaError, where: str) -> RetryableError | FatalError:
    """The decision for an error of the client library: fatal ones stop, the rest is tried again."""
    cause = error.args[0] if isinstance(error, KafkaException) else error
    # A producer that has met a fatal error answers every later call with `_FATAL`, itself not marked as fatal.
    fatal = isinstance(cause, KafkaError) and (cause.fatal() or cause.code() == KafkaError._FATAL)
    kind = FatalError if fatal else RetryableError
    return kind(f"{where}: {cause}")


def producer(settings: Settings, linger_ms: float = 2.0) -> Producer:
    """An idempotent producer (``acks=all``) that places keys as Kafka's Java client does."""
    return Producer(
        {
            "bootstrap.servers": bootstrap(settings),
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "linger.ms": linger_ms,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 200_000,
            # A batch of several stays within `batch.size`, which the market topics take.
            "message.max.bytes": LARGEST_BYTES,
            # Never give a message up: a broker that is away makes us wait (the full queue then stops the source).
            "message.timeout.ms": 0,
            "reconnect.backoff.max.ms": 2000,
        }
    )


def consumer(settings: Settings, group: str = GROUP) -> Consumer:
    """A group member that commits by hand and treats a lost offset as an error, not as a reason to jump.

    A partition without a committed offset starts at its beginning; that is decided by the caller on assignment,
    since ``auto.offset.reset`` cannot tell a new group from a lost offset.
    """
    return Consumer(
        {
            "bootstrap.servers": bootstrap(settings),
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            # Events and history partitions of the same number, so of the same symbols, go to one member.
            "partition.assignment.strategy": "range",
            "max.poll.interval.ms": 600_000,
            "session.timeout.ms": 10_000,
            "fetch.message.max.bytes": 10_485_760,
            "queued.max.messages.kbytes": 65_536,
            "fetch.wait.max.ms": 10,
            "reconnect.backoff.max.ms": 2000,
        }
    )


def admin(settings: Settings) -> AdminClient:
    """A client for topics, offsets and deletions."""
    return AdminClient({"bootstrap.servers": bootstrap(settings)})


def ensure_topics(client: AdminClient, partitions: int) -> list[str]:
    """Creates the lake's topics where they are missing; they never expire by themselves.

    Returns:
        The names of the topics created.

    Raises:
        RetryableError: the broker is away. FatalError: a topic exists with another number of partitions.
    """
    config = {"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"}
    try:
        existing = client.list_topics(timeout=TIMEOUT_S).topics
        wanted = {EVENTS_TOPIC: partitions, HISTORY_TOPIC: partitions, DEADLETTER_TOPIC: 1}
        for name, count in wanted.items():
            if name in existing and len(existing[name].partitions) != count:
                raise FatalError(
                    f"topic {name} has {len(existing[name].partitions)} partitions, KAFKA_PARTITIONS says {count}: "
                    "set it back, the order of a symbol's events depends on it"
                )
        new = [
            NewTopic(name, count, 1, config=config | (LARGE if name == DEADLETTER_TOPIC else {}))
            for name, count in wanted.items()
            if name not in existing
        ]
        for name, future in client.create_topics(new, operation_timeout=TIMEOUT_S).items() if new else ():
            try:
                future.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise kafka_error(error, f"creating topic {name}") from error
        _allow_large_letters(client)
        return [topic.topic for topic in new]
    except KafkaException as error:
        raise kafka_error(error, "Kafka") from error


def _allow_large_letters(client: AdminClient) -> None:
    """Where an older release made the topic: a letter that it does not take would stop the consumer for ever."""
    sizes = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in LARGE.items()]
    topic = ConfigResource(ResourceType.TOPIC, DEADLETTER_TOPIC, incremental_configs=sizes)
    try:
        client.incremental_alter_configs([topic], request_timeout=TIMEOUT_S)[topic].result()
    except KafkaException as error:
        if error.args[0].code() not in _NOT_OURS_TO_SET:
            raise
        log.warning("%s keeps its limits, a larger letter will not fit: %s", DEADLETTER_TOPIC, error.args[0].str())


def topic_ids(client: AdminClient, topics: Sequence[str]) -> dict[str, str]:
    """Kafka's own id of each topic, which is new when a topic is made anew."""
    try:
        futures = client.describe_topics(TopicCollection(list(topics)), request_timeout=TIMEOUT_S)
        return {name: str(future.result().topic_id) for name, future in futures.items()}
    except KafkaException as error:
        raise kafka_error(error, "Kafka") from error


def committed(client: Consumer, partitions: Sequence[TopicPartition]) -> dict[tuple[str, int], int | None]:
    """The committed offset of each partition, None where the group has none."""
    try:
        found = client.committed(list(partitions), timeout=TIMEOUT_S)
    except KafkaException as error:
        raise kafka_error(error, "Kafka") from error
    return {(p.topic, p.partition): (p.offset if p.offset >= 0 else None) for p in found}


def partition_of(key: str, partitions: int) -> int:
    """The partition that Kafka's Java client and ours (``murmur2_random``) choose for a key.

    Murmur2 with Kafka's seed: https://github.com/apache/kafka/blob/trunk/clients/src/main/java/org/apache/kafka/common/utils/Utils.java
    """
    data, mix, mask = key.encode(), 0x5BD1E995, 0xFFFFFFFF
    value = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * mix & mask
        word = (word ^ word >> 24) * mix & mask
        value = (value * mix & mask) ^ word
    if tail := data[whole:]:
        value = (value ^ int.from_bytes(tail, "little")) * mix & mask
    value = (value ^ value >> 13) * mix & mask
    return ((value ^ value >> 15) & 0x7FFFFFFF) % partitions


def watermarks(client: Consumer, part: TopicPartition) -> tuple[int, int]:
    """The oldest offset of a partition, and the one that its next message will get.

    Raises:
        RetryableError: the broker is away or not ready yet.
    """
    try:
        low, high = client.get_watermark_offsets(part, timeout=TIMEOUT_S)
    except KafkaException as error:
        raise kafka_error(error, f"Kafka, {part.topic}/{part.partition}") from error
    return low, high
