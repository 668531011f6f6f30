"""Creates or updates the lake's tables, views and topics; idempotent."""

import logging
import threading
from contextlib import closing

from confluent_kafka.admin import AdminClient

from features.table import SILVER
from lakehouse import process
from lakehouse.schema import TABLES
from lakehouse.settings import Settings
from lakehouse.stores import kafka
from lakehouse.stores.halted import resume
from lakehouse.stores.questdb import QuestDB
from lakehouse.views import views

log = logging.getLogger(__name__)


def migrate(settings: Settings, questdb: QuestDB, admin: AdminClient) -> list[str]:
    """Creates or updates tables, then views, then topics.

    Returns:
        The changes, one line each.

    Raises:
        RetryableError: a server is down. FatalError: a server refuses us, or existing objects contradict the settings.
    """
    kafka.reach(settings)
    for one in resume(questdb):
        log.warning("%s was %s (%s): %s", one.name, one.state, one.reason, one.remedy)
    changed = questdb.migrate([*TABLES, SILVER], views(settings.feature_interval_ms))
    changed += [f"created topic {name}" for name in kafka.ensure_topics(admin, settings.kafka_partitions)]
    for line in changed:
        log.info("%s", line)
    return changed


def migrate_lake(settings: Settings, stop: threading.Event) -> list[str]:
    """Migrates with its own clients and waits for servers that are still starting.

    Raises:
        RetryableError: stopped before that. FatalError: a server refuses us.
    """
    with closing(QuestDB(settings)) as questdb:
        return process.retrying(lambda: migrate(settings, questdb, kafka.admin(settings)), stop, "migrating")
