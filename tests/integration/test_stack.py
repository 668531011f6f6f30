"""The servers of the process table, started for real: schema is ours alone, passwords are asked for, data survives."""

import httpx
import psycopg2
import pytest
import redis
from confluent_kafka.cimpl import NewTopic
from questdb import QuestDBError, Sender, TimestampNanos

from lakehouse.settings import Settings
from lakehouse.stores.kafka import admin
from lakehouse.stores.questdb import QuestDB
from stack.layout import layout
from stack.servers.ports import leftovers
from stack.supervision.process_table import processes
from tests.support.servers import SERVERS, LocalServers


def _sender(lake: Settings) -> Sender:
    password = lake.questdb_password.get_secret_value()
    return Sender.from_conf(
        f"http::addr={lake.questdb_host}:{lake.questdb_http_port};username={lake.questdb_user};password={password};"
        "auto_flush=off;retry_timeout=0;"
    )


def _reader(lake: Settings, user: str, password: str) -> psycopg2.extensions.connection:
    return psycopg2.connect(
        host=lake.questdb_host, port=lake.questdb_pg_port, user=user, password=password, dbname="qdb"
    )


def test_ilp_makes_no_table_and_no_column(fresh_lake: Settings) -> None:
    database = QuestDB(fresh_lake)
    with _sender(fresh_lake) as sender, pytest.raises(QuestDBError, match="table does not exist"):
        sender.row("surprise", columns={"x": 1.0}, at=TimestampNanos.now())
        sender.flush()
    database.execute("CREATE TABLE known (ts TIMESTAMP, x DOUBLE) TIMESTAMP(ts) PARTITION BY DAY WAL")
    with _sender(fresh_lake) as sender, pytest.raises(QuestDBError, match="creating new columns is disabled"):
        sender.row("known", columns={"x": 1.0, "y": 2.0}, at=TimestampNanos.now())
        sender.flush()
    assert database.rows("SELECT table_name FROM tables() WHERE table_name = 'surprise'") == []
    assert database.rows("SELECT \"column\" FROM table_columns('known')") == [("ts",), ("x",)]
    database.close()


def test_questdb_asks_for_a_password_everywhere(lake: Settings) -> None:
    base = f"http://{lake.questdb_host}:{lake.questdb_http_port}"
    assert httpx.get(f"{base}/exec", params={"query": "SELECT 1"}).status_code == httpx.codes.UNAUTHORIZED
    metrics = f"http://{lake.questdb_host}:{lake.questdb_metrics_port}/metrics"
    assert httpx.get(metrics).status_code == httpx.codes.UNAUTHORIZED
    auth = (lake.questdb_user, lake.questdb_password.get_secret_value())
    assert "questdb_memory" in httpx.get(metrics, auth=auth).text
    for user, password in ((lake.questdb_user, "quest"), ("admin", "quest"), ("user", "quest")):
        with pytest.raises(psycopg2.OperationalError):
            _reader(lake, user, password)


def test_the_reader_reads_and_cannot_write(fresh_lake: Settings) -> None:
    QuestDB(fresh_lake).execute("CREATE TABLE known (ts TIMESTAMP, x DOUBLE) TIMESTAMP(ts) PARTITION BY DAY WAL")
    password = fresh_lake.questdb_reader_password.get_secret_value()
    connection = _reader(fresh_lake, fresh_lake.questdb_reader, password)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT count() FROM known")
        assert cursor.fetchall() == [(0,)]
        for statement in ("INSERT INTO known VALUES (now(), 1)", "DROP TABLE known", "CREATE TABLE other (x INT)"):
            with pytest.raises(psycopg2.DatabaseError, match="denied"):
                cursor.execute(statement)
    connection.close()


def test_redis_asks_for_its_password(lake: Settings) -> None:
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=lake.redis_port).ping()


def test_kafka_makes_no_topic_by_itself(fresh_lake: Settings) -> None:
    client = admin(fresh_lake)
    client.list_topics("surprise", timeout=10)
    assert "surprise" not in client.list_topics(timeout=10).topics


def test_killed_servers_come_back_with_their_data(fresh_lake: Settings, servers: LocalServers) -> None:
    database = QuestDB(fresh_lake)
    database.execute("CREATE TABLE known (ts TIMESTAMP, x DOUBLE) TIMESTAMP(ts) PARTITION BY DAY WAL")
    with _sender(fresh_lake) as sender:
        sender.row("known", columns={"x": 1.0}, at=TimestampNanos.now())
        sender.flush()
    kafka = admin(fresh_lake)
    kafka.create_topics([NewTopic("known", 2, 1)])["known"].result()
    for name in ("questdb", "kafka"):
        servers.kill(name)
    servers.start("questdb", "kafka")
    database.wait_applied(["known"])
    assert database.rows("SELECT x FROM known") == [(1.0,)]
    assert len(kafka.list_topics(timeout=10).topics["known"].partitions) == 2
    database.close()


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_without_its_supervisor_is_known_as_ours(lake: Settings, servers: LocalServers, name: str) -> None:
    table = processes(lake, layout(lake))
    assert leftovers(lake, layout(lake), table)[name].pid == servers.pid(name)
