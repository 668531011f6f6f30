"""QuestDB: DDL and frames over HTTP, small parametrised queries over the PostgreSQL wire, writes over ILP/HTTP."""

import io
import time
from collections.abc import Iterable, Sequence
from typing import Any

import httpx
import polars as pl
import psycopg2
from questdb import QuestDBError, QuestDBErrorCode, Sender, TimestampNanos

from lakehouse.errors import FatalError, PoisonError, RetryableError
from lakehouse.schema import Table, View
from lakehouse.settings import Settings
from lakehouse.stores import migration
from lakehouse.stores.pgwire import CONNECT_S, Answer, PgWire

# Values per request: bounds the client's buffer (limit 100 MB) and the server's work.
_WRITE_CELLS = 1_500_000
# Up to this size rows are written one by one: pandas takes half a second to import and milliseconds per frame.
_FEW_CELLS = 15_000
# What a write is told when the schema, not the row, is wrong: the tables were dropped, or the folder is another one.
_SCHEMA_COMPLAINTS = ("creating new tables is disabled", "creating new columns is disabled", "cast error from protocol")
_BUSY_SQL = ("table busy", "could not lock", "timeout, query aborted", "is suspended")


class QuestDB:
    """A client of QuestDB; thread-safe.

    Args:
        settings: where the server is and who we are.
        readonly: use the read-only user for `rows` (HTTP always uses the writer, QuestDB has one HTTP user).
        timeout_s: how long a query may take (over HTTP: be silent) before the server counts as away.
    """

    def __init__(self, settings: Settings, readonly: bool = False, timeout_s: float = 120.0) -> None:
        password = settings.questdb_password.get_secret_value()
        self._where = f"QuestDB at {settings.questdb_host}:{settings.questdb_http_port}"
        self._http = httpx.Client(
            base_url=f"http://{settings.questdb_host}:{settings.questdb_http_port}",
            auth=(settings.questdb_user, password),
            timeout=httpx.Timeout(timeout_s, connect=CONNECT_S),
        )
        self._timeout_s = timeout_s
        self._pg = PgWire(
            self._where,
            host=settings.questdb_host,
            port=settings.questdb_pg_port,
            user=settings.questdb_reader if readonly else settings.questdb_user,
            password=settings.questdb_reader_password.get_secret_value() if readonly else password,
            dbname="qdb",
        )
        self._conf = (
            f"http::addr={settings.questdb_host}:{settings.questdb_http_port};username={settings.questdb_user};"
            f"password={password};auto_flush=off;protocol_version=2;retry_timeout=0;request_timeout=60000;"
        )
        # Idle senders: each write takes one, so that threads can write in parallel.
        self._senders: list[Sender] = []

    def close(self) -> None:
        """Closes every connection."""
        self._http.close()
        self._pg.close()
        while self._senders:
            self._senders.pop().close(flush=False)

    def execute(self, sql: str) -> None:
        """Runs one statement, e.g. DDL.

        Raises:
            RetryableError: the server is down or the table busy. FatalError: the statement is wrong.
        """
        self._get("/exec", sql)

    def frame(self, sql: str) -> pl.DataFrame:
        """The result of a query as a polars frame (through Parquet, the fast way); times are UTC microseconds.

        Raises:
            RetryableError: the server is down. FatalError: the query is wrong.
        """
        return pl.read_parquet(io.BytesIO(self._get("/exp", sql, fmt="parquet").content))

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The result of a small query; ``%s`` takes the parameters. Times are UTC, in rows and parameters.

        Raises:
            RetryableError: the server is down, or silent for ``timeout_s``. FatalError: the query is wrong.
        """
        return self.table(sql, parameters)[1]

    def table(self, sql: str, parameters: Sequence[object] = ()) -> Answer:
        """Like `rows`, with the names of the columns before them."""
        return self._query(sql, parameters, self._timeout_s)

    def ping(self, timeout_s: float) -> None:
        """Returns when the server answers a query.

        Raises:
            RetryableError: it does not within ``timeout_s``.
        """
        self._query("SELECT 1", (), timeout_s)

    def write(self, table: Table, frame: pl.DataFrame) -> None:
        """Appends rows; returns when the server has them on disk (not yet visible: see `wait_applied`).

        Args:
            table: where to; columns of the frame that the table lacks are an error.
            frame: columns of the table, ``ts`` without nulls; other nulls and NaN become NULL.

        Raises:
            RetryableError: the server is down; repeating is harmless. PoisonError: it refuses some row.
            FatalError: the table, or a column of it, is not there or of another type.
        """
        for part in frame.iter_slices(max(1, _WRITE_CELLS // len(table.columns))):
            self._send(table, part)

    def migrate(self, tables: Iterable[Table], views: Iterable[View]) -> list[str]:
        """What `migration.migrate` does."""
        return migration.migrate(self, tuple(tables), tuple(views))

    def wait_applied(self, tables: Iterable[str], timeout_s: float = 60.0) -> None:
        """Waits until every acknowledged write to the tables can be read.

        Raises:
            RetryableError: it took longer than ``timeout_s``. FatalError: a table is suspended.
        """
        names = ", ".join(f"'{name}'" for name in tables)
        deadline = time.monotonic() + timeout_s
        query = f"SELECT name, suspended, writerTxn, sequencerTxn FROM wal_tables() WHERE name IN ({names})"
        while True:
            state = self.rows(query)
            if broken := [row[0] for row in state if row[1]]:
                raise FatalError(
                    f"{self._where}: {', '.join(broken)} suspended; see its log, then ALTER TABLE … RESUME WAL"
                )
            if all(writer == sequencer for _, _, writer, sequencer in state):
                return
            if time.monotonic() > deadline:
                raise RetryableError(f"{self._where}: writes to {names} not visible after {timeout_s:g} s")
            time.sleep(0.02)

    def _get(self, path: str, sql: str, **more: str) -> httpx.Response:
        try:
            response = self._http.get(path, params={"query": sql, **more})
        except httpx.TransportError as error:
            raise RetryableError(f"{self._where}: {error!r}") from error
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise FatalError(f"{self._where} refuses our password: compare QUESTDB_PASSWORD in .env with the server's")
        if response.is_server_error or response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise RetryableError(f"{self._where}: HTTP {response.status_code}: {response.text[:300]}")
        if response.is_error:
            raise _sql_error(self._where, sql, response.text)
        return response

    def _query(self, sql: str, parameters: Sequence[object], timeout_s: float) -> Answer:
        try:
            return self._pg.query(sql, parameters, timeout_s)
        except psycopg2.Error as error:
            raise _sql_error(self._where, sql, str(error)) from error

    def _send(self, table: Table, frame: pl.DataFrame) -> None:
        fill = _fill_by_row if frame.height * frame.width <= _FEW_CELLS else _fill_by_column
        sender = self._senders.pop() if self._senders else None
        try:
            if sender is None:
                sender = Sender.from_conf(self._conf)
                sender.establish()
            fill(sender, table, frame)
            sender.flush()
        except QuestDBError as error:
            # Discard the sender: its buffer may hold the refused rows.
            if sender is not None:
                sender.close(flush=False)
            raise _write_error(f"{self._where}, table {table.name}", error) from error
        self._senders.append(sender)


def _fill_by_column(sender: Sender, table: Table, frame: pl.DataFrame) -> None:
    """Through pandas, as the client wants it: categorical symbols (several times faster), no column of nulls alone."""
    frame = frame.select(column.name for column in frame if column.null_count() < frame.height)
    symbols = [name for name in table.symbol_columns if name in frame.columns]
    holed = [c.name for c in frame if c.dtype.is_integer() and c.null_count()]
    data = frame.with_columns(pl.col(symbols).cast(pl.Categorical)).to_pandas()
    sender.dataframe(data.astype(dict.fromkeys(holed, "Int64")), table_name=table.name, symbols=symbols, at="ts")


def _fill_by_row(sender: Sender, table: Table, frame: pl.DataFrame) -> None:
    """Row by row, which spares a few rows the milliseconds that a hundred columns cost in pandas."""
    kinds = set(table.symbol_columns)
    for row in frame.with_columns(pl.col("ts").dt.timestamp("ns")).iter_rows(named=True):
        at = TimestampNanos(row.pop("ts"))
        known = {name: value for name, value in row.items() if value is not None}
        columns = {name: value for name, value in known.items() if name not in kinds}
        symbols = {name: known[name] for name in table.symbol_columns if name in known}
        sender.row(table.name, symbols=symbols, columns=columns, at=at)


def _sql_error(where: str, sql: str, detail: str) -> RetryableError | FatalError:
    kind = RetryableError if any(word in detail for word in _BUSY_SQL) else FatalError
    return kind(f"{where}: {detail.strip()[:300]} in: {sql[:300]}")


def _write_error(where: str, error: QuestDBError) -> RetryableError | PoisonError | FatalError:
    if error.code == QuestDBErrorCode.AuthError:
        return FatalError(f"{where}: refuses our password: compare QUESTDB_PASSWORD in .env with the server's")
    if error.code == QuestDBErrorCode.ServerFlushError and any(words in str(error) for words in _SCHEMA_COMPLAINTS):
        return FatalError(f"{where}: table differs from the schema, run tradelake migrate: {error}")
    if error.code == QuestDBErrorCode.ServerFlushError and '"code":"invalid"' in str(error):
        return PoisonError("refused", f"{where}: {error}")
    if error.code in (QuestDBErrorCode.SocketError, QuestDBErrorCode.ServerFlushError):
        return RetryableError(f"{where}: {error}")
    return FatalError(f"{where}: {error}")
