"""Real servers on free ports for the whole test run, and an emptied lake on them for each test that asks."""

import secrets
import time
from collections.abc import Iterator

import pytest
import redis
from confluent_kafka.admin import AdminClient
from minio import Minio
from mlflow import MlflowClient

from forecast.registry.client import RegistryClient
from lakehouse.settings import Settings
from lakehouse.stores.kafka import admin
from lakehouse.stores.objects import Objects
from stack.layout import layout
from stack.servers import buckets
from stack.servers.object_store import NAME, prepare_store
from tests.integration.lakes import drop_tables
from tests.support.servers import SERVERS, LocalServers, running, scratch_settings


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServers]:
    """QuestDB, Kafka and Redis as children of the test run: ``servers.kill("redis")``, ``servers.start("redis")``."""
    with running(scratch_settings(tmp_path_factory.mktemp("lake")), *SERVERS) as started:
        yield started


@pytest.fixture(scope="session")
def lake(servers: LocalServers) -> Settings:
    """Settings of the running servers: free ports, new secrets, a folder of its own; shared by all tests."""
    return servers.settings


@pytest.fixture
def fresh_lake(lake: Settings) -> Settings:
    """The same servers, emptied: no table, no topic, no group, no key. Run your migrations first."""
    drop_tables(lake)
    _drop_topics(admin(lake))
    redis.Redis(port=lake.redis_port, password=lake.redis_password.get_secret_value()).flushall()
    return lake


@pytest.fixture(scope="session")
def mlflow_lake(lake: Settings, servers: LocalServers) -> Settings:
    """`lake` with the MLflow server running too (started on first use)."""
    servers.start("mlflow")
    return lake


@pytest.fixture
def registry(mlflow_lake: Settings) -> RegistryClient:
    """An emptied registry whose champions are the simple rules."""
    client = MlflowClient(mlflow_lake.mlflow_uri)
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)
    registry = RegistryClient(mlflow_lake)
    registry.ensure_baselines()
    return registry


@pytest.fixture(scope="session")
def store_server(lake: Settings, servers: LocalServers) -> Settings:
    """`lake` with the object store running too (started on first use)."""
    # Each test has a bucket of its own; SeaweedFS reads its users' rights once, before it starts.
    prepare_store(lake.model_copy(update={"s3_bucket": "lake-*"}), layout(lake))
    servers.start(NAME)
    return lake


@pytest.fixture
def stored_lake(fresh_lake: Settings, store_server: Settings) -> Iterator[Settings]:
    """An emptied lake and an object store with a new, empty bucket of its own, removed at the end."""
    settings = fresh_lake.model_copy(update={"s3_bucket": f"lake-{secrets.token_hex(4)}"})
    buckets.ensure(settings)
    yield settings
    # On a small disk SeaweedFS has room for few buckets: without this the last tests would find it full.
    password = settings.s3_admin_password.get_secret_value()
    Minio(settings.s3_address, settings.s3_admin_user, password, secure=False).remove_bucket(settings.s3_bucket)


@pytest.fixture
def objects(stored_lake: Settings) -> Iterator[Objects]:
    """The empty bucket of `stored_lake`, as the lake's own user."""
    store = Objects(stored_lake)
    yield store
    store.close()


def _drop_topics(client: AdminClient) -> None:
    groups = [group.group_id for group in client.list_consumer_groups().result().valid]
    for future in client.delete_consumer_groups(groups).values() if groups else ():
        future.result()
    topics = [name for name in client.list_topics(timeout=10).topics if not name.startswith("__")]
    for future in client.delete_topics(topics, operation_timeout=10).values() if topics else ():
        future.result()
    while set(client.list_topics(timeout=10).topics) & set(topics):
        time.sleep(0.05)
