"""Collects the status of processes and tables from supervisord, probes, Kafka's offsets, QuestDB and /proc."""

import time
from collections.abc import Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import psutil
from confluent_kafka import Consumer, KafkaException, TopicPartition

from lakehouse.disk import free_ratio
from lakehouse.errors import LakeError
from lakehouse.ledger import Summary, summaries
from lakehouse.settings import DEADLETTER_TOPIC, EVENTS_TOPIC, HISTORY_TOPIC, Settings
from lakehouse.stores import kafka
from lakehouse.stores.questdb import QuestDB
from stack.commands.feed_status import FeedReport, feed_report
from stack.commands.lake_faults import lake_faults
from stack.commands.process_faults import LETTERS_MIN, process_faults
from stack.servers.probes import Probe
from stack.supervision.process import Process
from stack.supervision.supervisor import ProcessState

LAYERS = ("bronze_", "silver_", "gold_", "meta_")
TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """A process as ``status`` shows it; only the consumer has a ``lag`` (records behind the log)."""

    state: str
    healthy: bool
    pid: int | None
    uptime_s: int
    ports: dict[str, int]
    memory_mb: float
    detail: str
    lag: int | None = None


@dataclass(frozen=True, slots=True)
class TableReport:
    """A table's rows and the time of its newest event (RFC 3339, UTC)."""

    rows: int
    newest: str | None


@dataclass(frozen=True, slots=True)
class StatusReport:
    """Everything ``status`` shows; memory is PSS in MB: shared pages count once.

    ``healthy`` is whether every process answers, ``faults`` has a line with the remedy for whatever is wrong beside.
    ``ledger`` has the completeness of each symbol's trades, ``feed`` the connection to the exchange.
    """

    source: str
    healthy: bool
    memory_mb: float
    processes: dict[str, ProcessReport]
    tables: dict[str, TableReport]
    faults: tuple[str, ...] = ()
    ledger: tuple[Summary, ...] = ()
    feed: FeedReport | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values for ``status --json``."""
        return asdict(self)


def gather(settings: Settings, table: Sequence[Process], states: dict[str, ProcessState]) -> StatusReport:
    """Probes every process in parallel, then asks those that answered for lag and tables: a hung one blocks nothing."""
    with ThreadPoolExecutor(len(table)) as pool:
        errors = list(pool.map(lambda process: probe_error(process.probe, settings), table))
        reports = {p.name: _report(p, settings, states.get(p.name), e) for p, e in zip(table, errors, strict=True)}
        well = {name for name, report in reports.items() if report.healthy}
        lag = pool.submit(consumer_lag, settings) if {"kafka", "consumer"} <= set(reports) and "kafka" in well else None
        tables = table_reports(settings) if "questdb" in well else {}
        ledger = ledger_reports(settings) if "bronze_trades" in tables else ()
        feed = feed_report(settings) if "producer" in well else None
    if lag is not None:
        reports["consumer"] = replace(reports["consumer"], lag=lag.result())
    memory = sum(report.memory_mb for report in reports.values())
    report = StatusReport(
        settings.source, len(well) == len(reports), round(memory, 1), reports, tables, ledger=ledger, feed=feed
    )
    stored = _stored_faults(settings, tables) if "questdb" in well else []
    letters = recent_dead_letters(settings) if "kafka" in well else 0
    running = process_faults(reports, feed, free_ratio(settings.state_dir / "questdb"), letters)
    return replace(report, faults=(*running, *stored))


def probe_error(probe: Probe, settings: Settings) -> str | None:
    """The error of a probe, or None if the process is healthy."""
    try:
        probe(settings)
    except LakeError as error:
        return str(error)
    return None


def consumer_lag(settings: Settings) -> int | None:
    """Records of both market topics not yet committed by the consumer group; None if Kafka does not answer."""
    client = Consumer(
        kafka.connection(settings) | {"group.id": kafka.GROUP, "log_level": 0},
    )
    try:
        topics = client.list_topics(timeout=TIMEOUT_S).topics
        partitions = [
            TopicPartition(name, number)
            for name in (EVENTS_TOPIC, HISTORY_TOPIC)
            if name in topics
            for number in topics[name].partitions
        ]
        behind = 0
        for part in client.committed(partitions, timeout=TIMEOUT_S) if partitions else ():
            low, high = client.get_watermark_offsets(part, timeout=TIMEOUT_S)
            behind += high - (part.offset if part.offset >= 0 else low)
        return behind
    except KafkaException:
        return None
    finally:
        client.close()


def table_reports(settings: Settings) -> dict[str, TableReport]:
    """Rows and newest event of each table and materialized view; empty while QuestDB is down."""
    database = QuestDB(settings)
    try:
        names = [row[0] for row in database.rows("SELECT table_name FROM tables() WHERE table_type <> 'V' ORDER BY 1")]
        found = {}
        for name in (name for name in names if name.startswith(LAYERS)):
            rows, newest = database.rows(f'SELECT count(), max(ts) FROM "{name}"')[0]
            found[name] = TableReport(rows, _rfc3339(newest))
        return found
    except LakeError:
        return {}
    finally:
        database.close()


def recent_dead_letters(settings: Settings) -> int:
    """Messages in the dead-letter topic of the last minutes; 0 while Kafka is down or has no such topic yet."""
    client = Consumer(kafka.connection(settings) | {"group.id": kafka.GROUP, "log_level": 0})
    since = int((time.time() - 60 * LETTERS_MIN) * 1000)
    try:
        topic = client.list_topics(timeout=TIMEOUT_S).topics.get(DEADLETTER_TOPIC)
        wanted = [TopicPartition(DEADLETTER_TOPIC, number, since) for number in (topic.partitions if topic else ())]
        count = 0
        for part in client.offsets_for_times(wanted, timeout=TIMEOUT_S) if wanted else ():
            _, high = client.get_watermark_offsets(part, timeout=TIMEOUT_S)
            # Without a newer message the offset is the end, -1.
            count += high - part.offset if part.offset >= 0 else 0
        return count
    except KafkaException:
        return 0
    finally:
        client.close()


def _stored_faults(settings: Settings, tables: Container[str]) -> list[str]:
    database = QuestDB(settings)
    try:
        return lake_faults(database, tables, settings.symbols, datetime.now(UTC))
    finally:
        database.close()


def ledger_reports(settings: Settings) -> tuple[Summary, ...]:
    """The ledger of each symbol; empty while QuestDB is down or the ledger's view does not exist yet."""
    database = QuestDB(settings)
    try:
        made = database.rows("SELECT 1 FROM tables() WHERE table_name = 'bronze_completeness'")
        return tuple(summaries(database)) if made else ()
    except LakeError:
        return ()
    finally:
        database.close()


def memory_mb(pid: int) -> float:
    """Proportional set size of a process and its descendants, in MB (10^6 bytes); 0 when it is gone."""
    total = 0
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            total += process.memory_full_info().pss
    except psutil.Error:
        return 0.0
    return round(total / 1e6, 1)


def _report(process: Process, settings: Settings, state: ProcessState | None, error: str | None) -> ProcessReport:
    ports = process.port_numbers(settings)
    if state is None or not state.pid:
        word, detail = (state.state, state.detail) if state else ("stopped", "not under the supervisor")
        return ProcessReport(word, False, None, 0, ports, 0.0, detail)
    memory = memory_mb(state.pid)
    return ProcessReport(state.state, error is None, state.pid, state.uptime_s, ports, memory, error or "")


def _rfc3339(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
