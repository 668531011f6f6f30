"""Folds events into feature rows: the one function behind live rows, rebuilt rows and forecasts on files."""

import polars as pl

from features.spec import NAMES, EngineConfig

__all__ = ["EngineConfig", "State", "fold"]


class State:
    """What the engine remembers of every symbol; `fold` changes it in place."""

    @classmethod
    def empty(cls, config: EngineConfig) -> "State":
        """A state that knows of no event yet."""
        raise NotImplementedError

    def drop(self, symbol: str) -> None:
        """Forgets a symbol, e.g. when its partition moves to another consumer."""
        raise NotImplementedError


def fold(state: State, events: pl.DataFrame) -> tuple[State, pl.DataFrame]:
    """Takes ``events`` (`lakehouse.messages.EVENT_SCHEMA`, log order) into ``state``; gives the rows they caused.

    The state is changed in place and returned. Rows come in log order: ts, received_at, symbol, epoch, seq, complete,
    then `NAMES` as Float64, NaN where unknown.
    """
    raise NotImplementedError(NAMES)
