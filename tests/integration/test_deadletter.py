"""Dead letters in a real topic: listed with reason and origin, sent again once they pass, never twice."""

import os
import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from confluent_kafka.admin import ConfigResource, ResourceType
from confluent_kafka.cimpl import NewTopic

from ingestion.kafka_log import dead_letter_writer
from ingestion.kafka_log.batches import DeadLetter
from ingestion.kafka_log.dead_letter_writer import DeadLetterWriter
from ingestion.kafka_log.publisher import Publisher
from lakehouse.errors import RetryableError
from lakehouse.messages import encode
from lakehouse.records import Trade
from lakehouse.settings import DEADLETTER_TOPIC, EVENTS_TOPIC, HISTORY_TOPIC, Settings
from lakehouse.stores import kafka
from stack.envfile import child_environment
from stack.supervision.process import TRADELAKE
from tests.integration.feeds import read_topic
from tests.integration.lakes import eventually
from tests.support.servers import LocalServers

BTC = "BTC/USD"
Run = Callable[..., tuple[int, list[str]]]


def trade(trade_id: int, ahead_s: float = 0.0) -> Trade:
    received_at = datetime.now(UTC) - timedelta(hours=1)
    return Trade(BTC, trade_id, 1.5, 2.0, "buy", "limit", received_at + timedelta(seconds=ahead_s), received_at, "sim")


@pytest.fixture
def run(fresh_lake: Settings) -> Run:
    """The command, as a person would call it: exit status and lines."""
    kafka.ensure_topics(kafka.admin(fresh_lake), fresh_lake.kafka_partitions)

    def command(*arguments: str) -> tuple[int, list[str]]:
        line = [*TRADELAKE, "dead-letters", *arguments]
        done = subprocess.run(
            line,
            env=os.environ | child_environment(fresh_lake),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout.splitlines()

    return command


def test_letters_are_listed_mended_and_sent_again_once(fresh_lake: Settings, run: Run) -> None:
    client = kafka.producer(fresh_lake)
    publisher = Publisher(client, threading.Event())
    publisher.dead_letter(encode(trade(1, ahead_s=60.0)), "future", "ws", "too far ahead", symbol=BTC)
    publisher.dead_letter(b'{"channel":"trade","da', "unparsable", "ws")
    publisher.dead_letter(b"1381095255,x,0.1", "bad_price", "file:btc.csv:7", topic=HISTORY_TOPIC, symbol=BTC)
    assert publisher.flush(10.0) == 0
    DeadLetterWriter(client).send([DeadLetter("missing_field", "no ts", EVENTS_TOPIC, 3, 77, b'{"type":"trade"}')])

    status, lines = run("list")
    assert status == 0
    assert [line.split("\t")[2:5] for line in lines] == [
        ["waiting", "future", "ws"],
        ["waiting", "unparsable", "ws"],
        ["waiting", "bad_price", "file:btc.csv:7"],
        ["waiting", "missing_field", f"{EVENTS_TOPIC}/3@77"],
    ]
    assert run("list", "--limit", "1")[1] == lines[:1]

    status, lines = run("replay")
    assert status == 3
    assert [line.split("\t")[1].split(":")[0] for line in lines] == [f"sent 1 events to {EVENTS_TOPIC}", *["kept"] * 3]
    ((value, headers),) = read_topic(fresh_lake, EVENTS_TOPIC)
    assert (orjson.loads(value)["trade_id"], headers) == (1, {"schema": b"1", "replay": b"1"})

    mended = encode(trade(-7)).decode()
    assert run("replay", "--id", "2", "--payload", mended) == (0, [f"2\tsent 1 events to {HISTORY_TOPIC}"])
    assert orjson.loads(read_topic(fresh_lake, HISTORY_TOPIC)[0][0])["trade_id"] == -7

    assert [line.split("\t")[2] for line in run("list")[1]] == ["replayed", "waiting", "replayed", "waiting"]
    assert run("replay")[0] == 3
    assert run("replay", "--id", "0") == (3, ["0\tkept: it was sent before"])
    assert len(read_topic(fresh_lake, EVENTS_TOPIC)) == len(read_topic(fresh_lake, HISTORY_TOPIC)) == 1


def test_a_frame_of_any_size_is_set_aside(fresh_lake: Settings) -> None:
    kafka.ensure_topics(kafka.admin(fresh_lake), fresh_lake.kafka_partitions)
    publisher = Publisher(kafka.producer(fresh_lake), threading.Event())
    whole, larger = os.urandom(3_000_000), b"x" * (kafka.MAX_BYTES + 5)
    publisher.dead_letter(whole, "unparsable", "ws")
    publisher.dead_letter(larger, "unparsable", "ws", symbol=BTC)
    assert publisher.flush(30.0) == 0
    kept, cut = read_topic(fresh_lake, DEADLETTER_TOPIC)
    assert kept[0] == whole
    assert "truncated" not in kept[1]
    assert larger.startswith(cut[0])
    assert cut[1]["truncated"] == str(len(larger)).encode()


def test_the_topic_of_an_older_lake_takes_large_letters_too(fresh_lake: Settings) -> None:
    client = kafka.admin(fresh_lake)
    for made in client.create_topics([NewTopic(DEADLETTER_TOPIC, 1, 1)]).values():
        made.result()
    eventually(lambda: DEADLETTER_TOPIC in client.list_topics(timeout=10.0).topics)
    kafka.ensure_topics(client, fresh_lake.kafka_partitions)
    topic = ConfigResource(ResourceType.TOPIC, DEADLETTER_TOPIC)

    def most() -> str:
        return str(client.describe_configs([topic])[topic].result()["max.message.bytes"].value)

    eventually(lambda: most() == str(kafka.MAX_BYTES))


def test_letters_come_once_however_often_kafka_is_away(
    fresh_lake: Settings, servers: LocalServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka.ensure_topics(kafka.admin(fresh_lake), fresh_lake.kafka_partitions)
    box = DeadLetterWriter(kafka.producer(fresh_lake))
    letters = [DeadLetter("unparsable", "no JSON", EVENTS_TOPIC, 3, offset, b"{") for offset in range(5)]
    box.send(letters[:1])
    servers.kill("kafka")
    monkeypatch.setattr(dead_letter_writer, "TIMEOUT_S", 0.5)
    for _ in range(3):
        with pytest.raises(RetryableError):
            box.send(letters[1:])
    servers.start("kafka")
    monkeypatch.setattr(dead_letter_writer, "TIMEOUT_S", 30.0)
    box.send(letters[1:])
    origins = [headers["origin"] for _, headers in read_topic(fresh_lake, DEADLETTER_TOPIC)]
    assert origins == [f"{EVENTS_TOPIC}/3@{offset}".encode() for offset in range(5)]


def test_what_cannot_be_done_is_said(run: Run) -> None:
    assert run("list") == (0, [])
    assert run("replay", "--id", "99")[0] == 3
    assert run("replay", "--payload", "{}")[0] == 2
