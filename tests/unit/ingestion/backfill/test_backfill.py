"""Backfills of files: `ingestion.backfill.loading`, `ingestion.backfill.pending`, `ingestion.backfill.progress`."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import polars as pl
import pytest

from formats.ids import Density
from formats.refusal import LINE, ReadOptions, RefusedFileError
from ingestion.backfill.loading import Loader, encoded
from ingestion.backfill.pending import Pending
from ingestion.backfill.progress import Journal, Progress, identity
from ingestion.silver.rebuild import NEAR, merged
from lakehouse.errors import RetryableError
from lakehouse.messages import decode
from tests.support.recorder import Recorder
from tests.support.scripted_rest import START, at

BTC = "BTC/USD"


def test_spans_of_work_are_joined_when_near_and_survive_on_disk(tmp_path: Path) -> None:
    a, b, c = START, START + NEAR, START + 5 * NEAR
    assert merged([(c, c), (a, a), (b, b)]) == [(a, b), (c, c)]
    pending = Pending(tmp_path)
    for one in (a, b, c):
        pending.add(BTC, one, one)
    assert Pending(tmp_path).spans(BTC) == [(a, b), (c, c)]
    Pending(tmp_path).done_before(BTC, a + NEAR / 2)
    assert Pending(tmp_path).spans(BTC) == [(a + NEAR / 2, b), (c, c)]
    Pending(tmp_path).done_before(BTC, b + timedelta(microseconds=1))
    assert Pending(tmp_path).spans(BTC) == [(c, c)]
    assert Pending(tmp_path).spans("ETH/USD") == []


@pytest.mark.parametrize(
    ("pieces", "dense"),
    [
        ([[1, 2, 3], [4, 5]], True),
        ([[3, 1, 2], [5, 4]], True),
        ([[1, 2], [2, 3]], False),
        ([[1, 2], [4]], False),
        ([[1, 3]], False),
        ([[-1, -2, -3]], False),
        ([[0, 1]], False),
        ([[], [7]], True),
    ],
)
def test_ids_are_dense_when_positive_and_without_holes(pieces: list[list[int]], dense: bool) -> None:
    ids = Density()
    for piece in pieces:
        ids.offer(np.array(piece, np.int64))
    assert ids.dense is dense


def test_rows_become_messages_that_the_consumer_reads() -> None:
    rows = pl.DataFrame(
        {LINE: [1, 2], "ts": [at(1), at(2)], "trade_id": [1, 2], "price": [1.5, 2.5], "qty": [1.0, 2.0]}
        | {"side": ["buy", None], "ord_type": [None, "market"], "symbol": [BTC, BTC]},
        schema_overrides={"ts": pl.Datetime("us", "UTC")},
    )
    events = decode(list(encoded(rows, "trade", START)), 1, [10, 11])
    assert (
        events.select("ts", "trade_id", "price", "qty", "side", "ord_type", "symbol").rows()
        == rows.select("ts", "trade_id", "price", "qty", "side", "ord_type", "symbol").rows()
    )
    assert set(events["type"]) == {"trade"} and set(events["source"]) == {"file"}
    assert events["received_at"].to_list() == [START, START]


def test_a_file_is_known_by_its_bytes_and_its_use(tmp_path: Path) -> None:
    one, same, other = (tmp_path / name for name in ("one.csv", "same.csv", "other.csv"))
    for path, text in ((one, "a"), (same, "a"), (other, "b")):
        path.write_text(text)
    assert identity(one, BTC, "trade", BTC) == identity(same, BTC, "trade", BTC)
    eth = "ETH/USD"
    uses = [(one, BTC, "trade", BTC), (one, eth, "trade", eth), (one, BTC, "quote", BTC), (one, BTC, "trade", "BTCUSD")]
    assert len({identity(*use)[0] for use in [*uses, (other, BTC, "trade", BTC)]}) == 5
    journal = Journal(tmp_path / "journal", one, BTC, "trade", BTC)
    assert journal.read() is None
    journal.write(Progress("one.csv", row=7, offsets={"3": 11}))
    found = Journal(tmp_path / "journal", same, BTC, "trade", BTC).read()
    assert found == Progress("one.csv", row=7, offsets={"3": 11})


def test_a_file_killed_after_its_last_row_still_gets_its_silver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("formats.tables.BLOCK_BYTES", 50)
    monkeypatch.setattr("ingestion.backfill.loading.ends", lambda _: {})
    path = tmp_path / "trades.csv"
    path.write_text("time,price,qty,trade_id\n" + "".join(f"{at(i).timestamp()},1,1,{i}\n" for i in range(1, 6)))

    class Killed(Recorder):
        def flush(self, timeout_s: float) -> int:
            if len(self.sent) == 5:
                raise RetryableError("killed")
            return super().flush(timeout_s)

    def load(publisher: Recorder, row: int) -> None:
        monkeypatch.setattr("ingestion.backfill.loading.caught_up", lambda _c, _f, found: replace(found, row=row))
        loader = Loader(publisher, Mock(), tmp_path / "journal", Mock(), Pending(tmp_path))
        loader.load(path, BTC, "trade", ReadOptions())

    publisher = Killed()
    with pytest.raises(RetryableError, match="killed"):
        load(publisher, 0)
    assert len(publisher.sent) == 5
    assert Pending(tmp_path).spans(BTC) == [(at(1), at(5))]
    again = Recorder()
    load(again, 6)
    assert again.sent == []
    assert Pending(tmp_path).spans(BTC) == [(at(1), at(5))]


def test_a_file_of_which_nothing_can_be_read_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text("time,price,qty\nyesterday,1,1\ntoday,1,1\n")
    publisher, folder = Recorder(), tmp_path / "journal"
    with pytest.raises(RefusedFileError, match=r"none of 2 rows can be read.*trades\.csv, line 2, column time"):
        Loader(publisher, Mock(), folder, Mock(), Pending(tmp_path)).load(path, BTC, "trade", ReadOptions())
    assert publisher.sent == [] and not folder.exists()


def test_a_grown_file_goes_on_where_it_ended_and_another_between_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestion.backfill.loading.ends", lambda _: {})
    monkeypatch.setattr("ingestion.backfill.loading.caught_up", lambda _c, _f, found: found)
    path, other = tmp_path / "a.csv", tmp_path / "c.csv"

    def load(file: Path, *minutes: int) -> list[tuple[int, float]]:
        file.write_text("".join(f"{at(60 * i).timestamp()},{100 + i},1\n" for i in minutes))
        publisher = Recorder()
        loader = Loader(publisher, Mock(), tmp_path / "journal", Mock(), Pending(tmp_path))
        loader.load(file, BTC, "trade", ReadOptions())
        return [(event["trade_id"], event["price"]) for event in publisher.events]

    first = load(path, 1, 2)
    between = load(other, 10, 11)
    grown = load(path, 1, 2, 3, 4)
    assert [price for _, price in first + between + grown] == [101, 102, 110, 111, 103, 104]
    ids = [each for each, _ in sorted(first + grown + between)]
    assert [price for _, price in sorted(first + between + grown)] == [101, 102, 103, 104, 110, 111]
    assert len(set(ids)) == 6 and max(ids) < 0
