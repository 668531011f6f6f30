"""The page's latest-value store: slow readers skip updates, and closing wakes them."""

import threading

from forecast.page.latest_values import LatestValues


def test_a_reader_gets_the_newest_of_each_and_only_what_changed() -> None:
    board = LatestValues()
    board.post("price", "A", 1)
    board.post("price", "B", 2)
    board.post("price", "A", 3)
    first = board.since(0, 0)
    assert [(n.key, n.data) for n in first] == [("B", b"2"), ("A", b"3")]
    assert board.since(first[-1].serial, 0) == []
    board.post("status", "", 4)
    assert [n.event for n in board.since(first[-1].serial, 0)] == ["status"]


def test_closing_wakes_every_reader() -> None:
    board = LatestValues()
    reader = threading.Thread(target=lambda: board.since(0, 60))
    reader.start()
    board.close()
    reader.join(5)
    assert not reader.is_alive()
    assert board.closed
