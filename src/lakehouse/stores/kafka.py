"""Kafka: clients configured for exactly-once processing, topics and their ids, committed offsets."""

import logging
import time
from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from confluent_kafka.cimpl import NewTopic

from lakehouse.errors import FatalError, RetryableError
from lakehouse.settings import DEADLETTER_TOPIC, EVENTS_TOPIC, HISTORY_TOPIC, Settings
from lakehouse.stores.tls import ca_file

log = logging.getLogger(__name__)
KafkaHeaders = Sequence[tuple[str, bytes]]
GROUP = "tradelake"
TIMEOUT_S = 10.0
_STEP_S = 0.5
# The largest message, dead letters included: they carry what the market topics took (1 MiB, but packed) whole.
MAX_BYTES = 8 * 2**20
_NOT_OURS_TO_SET = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.POLICY_VIOLATION, KafkaError.INVALID_CONFIG)
LARGE = {"max.message.bytes": str(MAX_BYTES)}
# A killed consumer counts as a group member for this long.
SESSION_S = 10
# The group's coordinator is not known yet, as in the first seconds after the first start.
_COORDINATOR_COMING = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
}


def bootstrap(settings: Settings) -> str:
    """``host:port`` of the first broker to ask."""
    return f"{settings.kafka_host}:{settings.kafka_port}"


def connection(settings: Settings) -> dict[str, str]:
    """The connection options of every client: bootstrap broker, security protocol and credentials.

    Raises:
        FatalError: SASL without a user or password, or a CA file without certificates.
    """
    known = {"bootstrap.servers": bootstrap(settings), "security.protocol": settings.kafka_security}
    if settings.kafka_security.startswith("SASL"):
        password = settings.kafka_password.get_secret_value()
        if not (settings.kafka_user and password):
            raise FatalError(f"KAFKA_SECURITY={settings.kafka_security} needs KAFKA_USER and KAFKA_PASSWORD")
        known |= {"sasl.mechanism": settings.kafka_sasl_mechanism}
        known |= {"sasl.username": settings.kafka_user, "sasl.password": password}
    if settings.kafka_security.endswith("SSL") and settings.kafka_ca:
        known["ssl.ca.location"] = ca_file("KAFKA_CA", settings.kafka_ca)
    return known


def kafka_error(error: KafkaException | KafkaError, where: str) -> RetryableError | FatalError:
    """Maps an error of the client library: fatal ones stop the process, others are retried."""
    cause = error.args[0] if isinstance(error, KafkaException) else error
    # After a fatal error, a producer answers every later call with `_FATAL`, which is not marked as fatal itself.
    fatal = isinstance(cause, KafkaError) and (cause.fatal() or cause.code() == KafkaError._FATAL)
    kind = FatalError if fatal else RetryableError
    return kind(f"{where}: {cause}")


def reach(settings: Settings, timeout_s: float = TIMEOUT_S) -> None:
    """Returns once a broker accepts us; otherwise raises the reason, which other calls report only as a timeout.

    Raises:
        RetryableError: no broker answers, or TLS fails. FatalError: it refuses our user or password.
    """
    told: list[KafkaError] = []
    quiet = {"log_level": 0, "reconnect.backoff.max.ms": 1000, "error_cb": told.append}
    client = AdminClient(connection(settings) | quiet)
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            client.list_topics(timeout=min(_STEP_S, timeout_s))
            return
        except KafkaException as error:
            client.poll(0.1)
            where = f"Kafka at {bootstrap(settings)} ({settings.kafka_security})"
            if refused := [e for e in told if e.code() == KafkaError._AUTHENTICATION]:
                remedy = "compare KAFKA_USER, KAFKA_PASSWORD and KAFKA_SASL_MECHANISM with the server's"
                raise FatalError(f"{where}: {refused[0].str()}: {remedy}") from error
            if time.monotonic() > deadline:
                reasons = [e for e in told if e.code() != KafkaError._ALL_BROKERS_DOWN] or [error.args[0]]
                raise RetryableError(f"{where}: {reasons[-1].str()}") from error


def producer(settings: Settings, linger_ms: float = 2.0) -> Producer:
    """An idempotent producer (``acks=all``) that places keys as Kafka's Java client does."""
    return Producer(
        {
            **connection(settings),
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "linger.ms": linger_ms,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 200_000,
            # A batch of several messages stays within `batch.size`, which the market topics accept.
            "message.max.bytes": MAX_BYTES,
            # Never drop a message: while a broker is down we wait, and the full queue then blocks the source.
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
            **connection(settings),
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            # Partitions with the same number, hence the same symbols, of both topics go to one member.
            "partition.assignment.strategy": "range",
            "max.poll.interval.ms": 600_000,
            "session.timeout.ms": SESSION_S * 1000,
            "fetch.message.max.bytes": 10_485_760,
            "queued.max.messages.kbytes": 65_536,
            "fetch.wait.max.ms": 10,
            "reconnect.backoff.max.ms": 2000,
        }
    )


def admin(settings: Settings) -> AdminClient:
    """A client for topics, offsets and deletions."""
    return AdminClient(connection(settings))


def ensure_topics(client: AdminClient, partitions: int) -> list[str]:
    """Creates missing topics of the lake, without time or size retention.

    Returns:
        The names of the topics created.

    Raises:
        RetryableError: the broker is down. FatalError: a topic exists with another number of partitions.
    """
    config = {"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"}
    try:
        existing = client.list_topics(timeout=TIMEOUT_S).topics
        wanted = {EVENTS_TOPIC: partitions, HISTORY_TOPIC: partitions, DEADLETTER_TOPIC: 1}
        for name, count in wanted.items():
            if name in existing and len(existing[name].partitions) != count:
                raise FatalError(
                    f"topic {name} has {len(existing[name].partitions)} partitions, KAFKA_PARTITIONS is {count}: "
                    "set it back, because the order of a symbol's events depends on it"
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
    """Raises the size limit of a topic created by an older release: a letter above it would block the consumer."""
    sizes = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in LARGE.items()]
    topic = ConfigResource(ResourceType.TOPIC, DEADLETTER_TOPIC, incremental_configs=sizes)
    try:
        client.incremental_alter_configs([topic], request_timeout=TIMEOUT_S)[topic].result()
    except KafkaException as error:
        if error.args[0].code() not in _NOT_OURS_TO_SET:
            raise
        log.warning("%s keeps its limits, a larger letter will not fit: %s", DEADLETTER_TOPIC, error.args[0].str())


def topic_ids(client: AdminClient, topics: Sequence[str]) -> dict[str, str]:
    """Kafka's id of each topic; a recreated topic has a new one."""
    try:
        futures = client.describe_topics(TopicCollection(list(topics)), request_timeout=TIMEOUT_S)
        return {name: str(future.result().topic_id) for name, future in futures.items()}
    except KafkaException as error:
        raise kafka_error(error, "Kafka") from error


def committed(client: Consumer, partitions: Sequence[TopicPartition]) -> dict[tuple[str, int], int | None]:
    """The committed offset of each partition; None if the group has none."""
    try:
        found = client.committed(list(partitions), timeout=TIMEOUT_S)
    except KafkaException as error:
        raise kafka_error(error, "Kafka") from error
    return {(p.topic, p.partition): (p.offset if p.offset >= 0 else None) for p in found}


def members(client: AdminClient, group: str = GROUP) -> int:
    """The number of consumers in a group; a killed one counts for another `SESSION_S`.

    Raises:
        RetryableError: the broker is down.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            return len(client.describe_consumer_groups([group], request_timeout=TIMEOUT_S)[group].result().members)
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.GROUP_ID_NOT_FOUND:
                return 0
            if code not in _COORDINATOR_COMING or time.monotonic() > deadline:
                raise kafka_error(error, "Kafka") from error
        time.sleep(0.1)


def partition_of(key: str, partitions: int) -> int:
    """The partition of a key, as chosen by Kafka's Java client and ours (``murmur2_random``).

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
    """The oldest offset of a partition, and the offset of its next message.

    Raises:
        RetryableError: the broker is down or not ready yet.
    """
    try:
        low, high = client.get_watermark_offsets(part, timeout=TIMEOUT_S)
    except KafkaException as error:
        raise kafka_error(error, f"Kafka, {part.topic}/{part.partition}") from error
    return low, high
