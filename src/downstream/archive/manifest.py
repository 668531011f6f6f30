"""Day files and their manifests: object keys, Parquet encoding, checksums and fingerprints; pure."""

import hashlib
import io
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from urllib.parse import quote, unquote

import orjson
import polars as pl

from lakehouse.errors import FatalError
from lakehouse.schema import Column, ColumnType, Table
from lakehouse.times import format_time

FORMAT = 1
# Hive's marker for NULL in a path.
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_TYPES: dict[ColumnType, pl.DataType] = {
    "TIMESTAMP": pl.Datetime("us", "UTC"),
    "SYMBOL": pl.String(),
    "VARCHAR": pl.String(),
    "LONG": pl.Int64(),
    "INT": pl.Int32(),
    "DOUBLE": pl.Float64(),
    "BOOLEAN": pl.Boolean(),
}


@dataclass(frozen=True, slots=True, order=True)
class DayFile:
    """One file of the archive: a table's whole UTC day of one symbol (None for rows without a symbol)."""

    table: str
    layer: str
    day: date
    symbol: str | None

    @property
    def folder(self) -> str:
        """Hive-style prefix; ``BTC/USD`` becomes ``symbol=BTC%2FUSD``."""
        symbol = HIVE_NULL if self.symbol is None else quote(self.symbol, safe="")
        return f"{self.layer}/{self.table}/symbol={symbol}/dt={self.day.isoformat()}/"

    @property
    def data_key(self) -> str:
        """Key of the Parquet file."""
        return self.folder + "part-0.parquet"

    @property
    def manifest_key(self) -> str:
        """Key of its manifest; engines that read the folder skip names that start with an underscore."""
        return self.folder + "_manifest.json"


def part_of(manifest_key: str) -> DayFile:
    """The day file that a manifest's key belongs to; the inverse of `DayFile.manifest_key`.

    >>> part_of("bronze/bronze_trades/symbol=BTC%2FUSD/dt=2026-01-05/_manifest.json").symbol
    'BTC/USD'
    """
    layer, table, symbol, day, _ = manifest_key.split("/")
    value = symbol.removeprefix("symbol=")
    name = None if value == HIVE_NULL else unquote(value)
    return DayFile(table, layer, date.fromisoformat(day.removeprefix("dt=")), name)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Describes a day file; written last, after the file was read back and its checksum agreed.

    Attributes:
        version: the object version described; None if the bucket keeps no versions.
        first_ts, last_ts: RFC 3339 with microseconds.
        first_trade_id, last_trade_id: smallest and largest; None if the table has no trade ids.
        schema: column name to QuestDB type, in the file's order.
        keys: the table's deduplication keys, which sort the rows.
        fingerprint: `fingerprint` of the rows, to detect late ones.
        verified_at: when the file was read back, RFC 3339.
    """

    rows: int
    sha256: str
    size: int
    first_ts: str
    last_ts: str
    first_trade_id: int | None
    last_trade_id: int | None
    schema: dict[str, ColumnType]
    keys: tuple[str, ...]
    fingerprint: str
    version: str | None
    verified_at: str
    format: int = FORMAT

    def dump(self) -> bytes:
        """As JSON."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2)

    @staticmethod
    def load(data: bytes, where: str) -> "Manifest":
        """From JSON; anything else is a `FatalError` that names the object."""
        try:
            body = orjson.loads(data)
            if body["format"] != FORMAT:
                raise FatalError(
                    f"{where}: format {body['format']}, this release reads {FORMAT}: use the release that wrote it"
                )
            return Manifest(**{**body, "keys": tuple(body["keys"])})
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise FatalError(f"{where} is not a manifest ({error!r}): run tradelake backup for its day") from error

    def table(self, part: DayFile) -> Table:
        """The table's definition when the file was written."""
        return Table(part.table, "meta", "", tuple(Column(n, t, "") for n, t in self.schema.items()), self.keys)


def canonical(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """The rows with the table's columns and types, ordered by all its keys: equal data gives equal frames."""
    typed = frame.select(pl.col(c.name).cast(_TYPES[c.type]) for c in table.columns)
    return typed.sort(table.keys or ("ts",), nulls_last=False, maintain_order=not table.keys)


def encode(frame: pl.DataFrame) -> bytes:
    """A canonical frame as Parquet; equal frames give equal bytes (with the same release of polars)."""
    out = io.BytesIO()
    frame.write_parquet(out, compression="zstd", compression_level=1, row_group_size=262_144, use_pyarrow=False)
    return out.getvalue()


def decode(data: bytes, where: str) -> pl.DataFrame:
    """Parquet to a frame; raises a `FatalError` that names the object if the bytes are not Parquet."""
    try:
        return pl.read_parquet(io.BytesIO(data))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise FatalError(
            f"{where} is not a readable Parquet file ({error}): run tradelake backup for its day"
        ) from error


def describe(data: bytes, table: Table, version: str | None, where: str) -> Manifest:
    """The manifest of a Parquet file, computed from its bytes.

    Raises:
        FatalError: the bytes are not Parquet, hold no rows, or lack a column of the table.
    """
    frame = decode(data, where)
    if frame.is_empty() or tuple(frame.columns) != table.names:
        raise FatalError(
            f"{where}: {frame.height} rows with columns {frame.columns}, want {list(table.names)}: "
            "run tradelake migrate"
        )
    ids = frame["trade_id"] if "trade_id" in frame.columns else None
    return Manifest(
        rows=frame.height,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        first_ts=_text(frame["ts"].min()),
        last_ts=_text(frame["ts"].max()),
        first_trade_id=None if ids is None else _int(ids.min()),
        last_trade_id=None if ids is None else _int(ids.max()),
        schema={c.name: c.type for c in table.columns},
        keys=table.keys,
        fingerprint=fingerprint(frame, table),
        version=version,
        verified_at=_text(datetime.now(UTC)),
    )


def fingerprint(frame: pl.DataFrame, table: Table) -> str:
    """Row count and the sum of every integer and time column.

    Rows never change under their keys, and every key except names is a time or an integer, so a late row changes the
    fingerprint. `fingerprint_sql` lets the server compute it without sending the rows.
    """
    sums = frame.select(_sum(c) for c in _summed(table)).row(0) if _summed(table) else ()
    return ":".join(str(value or 0) for value in (frame.height, *sums))


def fingerprint_sql(table: Table) -> str:
    """SQL expressions, comma-separated, whose values joined by ``:`` are `fingerprint`."""
    day = "timestamp_floor('d', ts)"
    sums = (f'sum("{c.name}" - {day})' if c.type == "TIMESTAMP" else f'sum("{c.name}")' for c in _summed(table))
    return ", ".join(("count()", *sums))


def rows_in(fingerprint: str) -> int:
    """The row count in a `fingerprint`."""
    return int(fingerprint.partition(":")[0])


def _summed(table: Table) -> list[Column]:
    return [c for c in table.columns if c.type in ("TIMESTAMP", "LONG", "INT")]


def _sum(column: Column) -> pl.Expr:
    # Times count from the start of the day, so that their sum stays far below 64 bits.
    value = pl.col(column.name)
    if column.type == "TIMESTAMP":
        value = value.cast(pl.Int64) - pl.col("ts").dt.truncate("1d").cast(pl.Int64)
    return value.cast(pl.Int64).sum().alias(column.name)


def _text(value: object) -> str:
    if not isinstance(value, datetime):
        raise FatalError(f"want a time, got {value!r}")
    return format_time(value)


def _int(value: object) -> int | None:
    return value if isinstance(value, int) else None
