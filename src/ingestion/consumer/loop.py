"""The consumer's loop: fetches market.events and market.history, hands batches to the pipeline, commits offsets."""

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from ingestion.consumer import metrics
from ingestion.consumer.lag import LagCollector
from ingestion.consumer.pipeline import Pipeline, Stores
from ingestion.consumer.start_offsets import StartOffsets, start_offsets, trim
from ingestion.kafka_log import delivery
from ingestion.kafka_log.batches import DeadLetter, TopicBatch, read
from ingestion.kafka_log.delivery import Ends
from ingestion.kafka_log.epochs import epoch_of
from ingestion.kafka_log.position import Position
from ingestion.silver.engine_config import engine_config
from lakehouse import process
from lakehouse.collectors import registered
from lakehouse.errors import RetryableError
from lakehouse.settings import EVENTS_TOPIC, HISTORY_TOPIC, Settings
from lakehouse.stores import kafka

log = logging.getLogger(__name__)
TOPICS = (EVENTS_TOPIC, HISTORY_TOPIC)
# Pause fetching while a batch runs longer than PATIENCE_S. Abandon a batch still running FINISH_S after its partitions
# are revoked; their next owner reprocesses it.
PATIENCE_S = 1.0
FINISH_S = 8.0
TRIM_EVERY_S = 3600.0


class ConsumerLoop:
    """Fetches batches and hands them to the pipeline on a second thread, one at a time, while it fetches the next.

    The fetching thread commits the offsets, as the last step of each batch: the client serves one thread at a time, and
    a second one can wait minutes for its turn. Rebalance callbacks run inside a fetch: the current batch is then
    finished and committed, or abandoned if a server is down.
    """

    def __init__(
        self, settings: Settings, client: Consumer, admin: AdminClient, stores: Stores, stop: threading.Event
    ) -> None:
        self._settings = settings
        self._client = client
        self._admin = admin
        self._questdb = stores.questdb
        self._stop = stop
        self._halt = threading.Event()
        self._pipeline = Pipeline(stores, engine_config(settings, stores.questdb), self._halt)
        ids = kafka.topic_ids(admin, TOPICS)
        self._epochs = {topic: epoch_of(stores.questdb, topic, ids[topic]) for topic in TOPICS}
        self._worker = ThreadPoolExecutor(1, "pipeline")
        self._job: Future[Ends] | None = None
        self._ends: Ends = {}
        self._committed: Ends = {}
        self._assigned: set[int] = set()
        self._rebalances = 0
        self._early: list[Message] = []
        self._next: dict[tuple[str, int], int] = {}
        self._next_trim = time.monotonic() + 60.0

    def symbols(self) -> list[str]:
        """The configured symbols whose partitions this member owns; thread-safe."""
        assigned, count = self._assigned, self._settings.kafka_partitions
        return [symbol for symbol in self._settings.symbols if kafka.partition_of(symbol, count) in assigned]

    def run(self) -> None:
        """Runs until ``stop`` is set or a fatal error occurs."""
        self._client.subscribe(
            list(TOPICS), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        try:
            with registered(LagCollector(self._admin, lambda: self._committed)):
                while not self._stop.is_set():
                    self._turn()
        finally:
            self._end_job(FINISH_S)
            self._commit()
            self._client.close()
            self._worker.shutdown()
            self._pipeline.close()

    def _turn(self) -> None:
        messages = self._fetch()
        rebalances = self._rebalances
        if messages:
            batch = self._read(messages)
            self._wait()
            # After a rebalance Kafka delivers these messages again, to this member or another.
            if rebalances == self._rebalances and not self._stop.is_set():
                self._job = self._worker.submit(self._process, *batch)
        if time.monotonic() > self._next_trim:
            self._next_trim = time.monotonic() + TRIM_EVERY_S
            self._wait()
            self._trim()
        if self._job is not None and self._job.done():
            self._end_job(0)
        self._commit()

    def _fetch(self) -> list[Message]:
        """Waits for a message, then takes what is available; while a batch is running, collects up to a full one."""
        most = self._settings.batch_events
        messages = self._take(self._early, 1, 0.2)
        self._early = []
        while messages and len(messages) < most and not self._stop.is_set():
            busy = self._job is not None and not self._job.done()
            messages = self._take(messages, most - len(messages), 0.01 if busy else 0.001)
            if not busy:
                break
        return messages

    def _take(self, messages: list[Message], most: int, timeout_s: float) -> list[Message]:
        """``messages`` and up to ``most`` new ones; after a rebalance the new ones alone."""
        rebalances = self._rebalances
        fresh: list[Message] = self._client.consume(most, timeout_s)
        return messages + fresh if rebalances == self._rebalances else fresh

    def _read(self, messages: Sequence[Message]) -> tuple[list[TopicBatch], list[DeadLetter], Ends]:
        """Parses the fetched messages, by topic."""
        with metrics.timed("read"):
            delivered = delivery.by_topic(messages)
            ends = delivery.ends(delivered, self._next)
            self._next |= ends
            tolerance = self._settings.future_tolerance_s
            found = [read(topic, self._epochs[topic], raws, tolerance) for topic, raws in delivered.items()]
        dead = [letter for _, letters in found for letter in letters]
        return [part for part, _ in found], dead, ends

    def _process(self, parts: list[TopicBatch], dead: list[DeadLetter], ends: Ends) -> Ends:
        """Processes one batch up to Redis, on the second thread; returns the end offsets to commit."""
        self._pipeline.process(parts, dead)
        self._pipeline.record({key: Position(self._epochs[key[0]], end) for key, end in ends.items()})
        metrics.BATCH.observe(sum(len(part.raws) for part in parts))
        return ends

    def _commit(self) -> None:
        """Commits finished batches; if that fails, the next commit covers them, and a repeated batch does no harm."""
        ends = [TopicPartition(*key, end) for key, end in self._ends.items()]
        if not ends:
            return
        try:
            with metrics.timed("commit"):
                self._client.commit(offsets=ends, asynchronous=False)
        except KafkaException as error:
            log.warning("%s; committed with the next batch", kafka.kafka_error(error, "Kafka, committing offsets"))
            return
        self._committed = self._committed | self._ends
        self._ends = {}

    def _trim(self) -> None:
        partitions = [TopicPartition(topic, number) for topic in TOPICS for number in self._assigned]
        try:
            count = trim(self._client, self._admin, partitions, self._settings.kafka_keep_hours)
            log.info("deleted old messages from %d partitions", count)
        except RetryableError as error:
            log.warning("%s; the log is trimmed later", error)

    def _wait(self) -> None:
        """Waits for the running batch; if that takes long, pauses fetching but keeps polling to stay in the group."""
        if self._job is None:
            return
        wait_for([self._job], PATIENCE_S)
        if not self._job.done():
            metrics.PAUSED.set(1)
            self._client.pause(self._client.assignment())
            while self._job is not None and not self._job.done() and not self._stop.is_set():
                self._early = self._take(self._early, 1, 0.05)
            self._client.resume(self._client.assignment())
            metrics.PAUSED.set(0)
        if self._stop.is_set():
            self._end_job(FINISH_S)
        elif self._job is not None and self._job.done():
            self._end_job(0)

    def _end_job(self, patience_s: float) -> None:
        """Ends the running job, if any, and re-raises its error; halts and abandons one that exceeds ``patience_s``."""
        job, self._job = self._job, None
        try:
            if job is None:
                return
            wait_for([job], patience_s)
            if not job.done():
                self._halt.set()
            self._ends |= job.result()
        except RetryableError as error:
            # A halted job's messages are redelivered, or we stop. After any other failure, fetching would go on behind
            # unprocessed messages: restart instead.
            if not self._halt.is_set():
                raise
            log.warning("batch abandoned, its messages will be redelivered: %s", error)
            self._pipeline.forget(self._assigned)
        finally:
            self._halt.clear()

    def _on_assign(self, _client: Consumer, partitions: list[TopicPartition]) -> None:
        self._rebalances += 1
        numbers = {part.partition for part in partitions}
        places = process.retrying(lambda: self._places(partitions), self._stop, "finding positions")
        # Keep state only if it ends exactly where fetching resumes; otherwise events would be folded twice.
        moved = {
            number for (topic, number), place in places.items() if not self._pipeline.stands_at(topic, number, place)
        }
        self._pipeline.forget((self._assigned - numbers) | moved)
        self._assigned = numbers
        self._pipeline.place(places)
        self._next = {key: place.offset for key, place in places.items()}
        self._committed = dict(self._next)
        self._early = []
        self._ends = {}
        self._client.assign(
            [TopicPartition(p.topic, p.partition, places[p.topic, p.partition].offset) for p in partitions]
        )
        # Partitions that were revoked while paused are still paused when assigned again.
        self._client.resume(partitions)
        log.info("assigned partitions %s", sorted(numbers))

    def _places(self, partitions: Sequence[TopicPartition]) -> StartOffsets:
        count = self._settings.kafka_partitions
        return start_offsets(self._client, self._questdb, self._epochs, partitions, count)

    def _on_revoke(self, _client: Consumer, partitions: list[TopicPartition]) -> None:
        """Keeps state until the next assignment: a partition that returns at once needs no rebuild."""
        self._rebalances += 1
        log.info("%d partitions revoked", len(partitions))
        self._end_job(FINISH_S)
        self._commit()
        self._committed = {}

    def _on_lost(self, _client: Consumer, partitions: list[TopicPartition]) -> None:
        """Drops all state: another member may have processed these partitions meanwhile."""
        self._rebalances += 1
        log.warning("lost %d partitions", len(partitions))
        self._halt.set()
        self._end_job(0)
        self._pipeline.forget(self._assigned)
        self._assigned = set()
        self._ends = self._committed = {}
