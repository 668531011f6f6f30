"""Pauses before reconnecting: quick at first, then longer, never more attempts than Kraken bears."""

from hypothesis import given
from hypothesis import strategies as st

from ingestion.kraken.ws_client import Backoff


def test_two_quick_tries_then_doubling_to_the_longest() -> None:
    backoff = Backoff(seed=1)
    pauses = [backoff.next_pause(1000.0 * i) for i in range(12)]
    assert all(pause < 1 for pause in pauses[:3])
    assert all(2.0**i <= pause <= 2.0**i * 1.25 for i, pause in enumerate(pauses[3:7], 1))
    assert all(Backoff.MAX_S <= pause <= Backoff.MAX_S * 1.25 for pause in pauses[8:])


def test_jitter_tells_clients_apart() -> None:
    assert Backoff(seed=1).next_pause(0.0) != Backoff(seed=2).next_pause(0.0)


def test_patience_is_kept_when_asked_for() -> None:
    assert Backoff(seed=1).next_pause(0.0, patient=True) >= Backoff.PATIENT_S


def test_a_stable_connection_wipes_the_slate() -> None:
    backoff = Backoff(seed=1)
    for i in range(10):
        backoff.next_pause(1000.0 * i)
    backoff.lasted(5.0)
    assert backoff.next_pause(20_000.0) > 1
    backoff.lasted(31.0)
    assert backoff.next_pause(30_000.0) < 1


@given(st.lists(st.floats(0, 100), min_size=200, max_size=400))
def test_never_more_than_the_budget_within_the_window(lifetimes: list[float]) -> None:
    backoff, now, attempts = Backoff(seed=3), 0.0, []
    for lifetime in lifetimes:
        now += backoff.next_pause(now)
        attempts.append(now)
        now += lifetime
        backoff.lasted(lifetime)
    for i, attempt in enumerate(attempts[Backoff.BUDGET :]):
        assert attempt - attempts[i] > Backoff.WINDOW_S - 1e-6
