"""The consumer process: migrates the lake, builds the clients and runs the loop until stopped."""

import gc
import threading

from ingestion.consumer.loop import ConsumerLoop
from ingestion.consumer.pipeline import Stores
from ingestion.consumer.silver_refresher import SilverRefresher
from ingestion.consumer.table_resumer import TableResumer
from ingestion.kafka_log.dead_letter_writer import DeadLetterWriter
from ingestion.migrate import migrate
from lakehouse import process
from lakehouse.background import BackgroundThreads
from lakehouse.collectors import DiskCollector, RedisCollector, registered
from lakehouse.disk import MIN_FREE_MB, free_mb
from lakehouse.settings import Settings
from lakehouse.stores import kafka
from lakehouse.stores.questdb import QuestDB
from lakehouse.stores.redis import Redis


def main(settings: Settings, stop: threading.Event) -> None:
    """Migrates, then consumes until stopped."""
    # Message objects form no cycles; collecting every 700 allocations, the default, took a fifth of the run time.
    gc.set_threshold(settings.batch_events)
    questdb, redis = QuestDB(settings), Redis(settings)
    admin = kafka.admin(settings)
    with registered(RedisCollector(redis), DiskCollector(settings.state_dir)):
        process.retrying(lambda: migrate(settings, questdb, admin), stop, "migrating")
        stores = Stores(questdb, redis, DeadLetterWriter(kafka.producer(settings)))
        client = kafka.consumer(settings)
        feed = process.retrying(lambda: ConsumerLoop(settings, client, admin, stores, stop), stop, "starting")
        helpers = BackgroundThreads(stop)
        helpers.start("resumer", TableResumer(settings, lambda: free_mb(settings.state_dir) >= MIN_FREE_MB, stop).run)
        helpers.start("refresher", SilverRefresher(settings, feed.symbols, stop).run)
        feed.run()
    questdb.close()
    redis.close()
    helpers.check()
