"""Redis: the newest features and forecasts of each symbol, as a key that expires and a channel of the same name."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry

from lakehouse import messages
from lakehouse.errors import FatalError, PoisonError, RetryableError
from lakehouse.records import FeatureRow, RowForecasts
from lakehouse.settings import Settings
from lakehouse.stores.tls import ca_file

log = logging.getLogger(__name__)
SentRow = TypeVar("SentRow", FeatureRow, RowForecasts)


@dataclass(frozen=True, slots=True)
class Channel(Generic[SentRow]):
    """One kind of row on Redis: the keys and channels ``name:symbol``, and what their values are."""

    name: str
    encode: Callable[[SentRow], bytes]
    decode: Callable[[bytes], SentRow]


FEATURES = Channel("features", messages.encode_features, messages.decode_features)
FORECASTS = Channel("forecasts", messages.encode_forecasts, messages.decode_forecasts)

# Sets and publishes in one step, unless the key already holds a newer (epoch, seq): a redelivered batch or a slow
# second writer must never put an older row over a newer one.
_PUBLISH = """
local held = redis.call('HMGET', KEYS[2], 'epoch', 'seq')
local epoch, seq = tonumber(ARGV[1]), tonumber(ARGV[2])
if held[1] and (tonumber(held[1]) > epoch or (tonumber(held[1]) == epoch and tonumber(held[2]) > seq)) then
  return 0
end
redis.call('HSET', KEYS[2], 'epoch', epoch, 'seq', seq)
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('SET', KEYS[1], ARGV[4], 'EX', ARGV[3])
redis.call('PUBLISH', KEYS[1], ARGV[4])
return 1
"""


class Redis:
    """The newest row per symbol; errors carry whether to wait (`RetryableError`) or to stop (`FatalError`)."""

    def __init__(self, settings: Settings) -> None:
        self._where = f"Redis at {settings.redis_host}:{settings.redis_port}"
        self._ttl = settings.features_ttl_s
        where: dict[str, Any] = {
            "host": settings.redis_host,
            "port": settings.redis_port,
            "username": settings.redis_user or None,
            "password": settings.redis_password.get_secret_value() or None,
            "socket_timeout": 5,
            "socket_connect_timeout": 5,
        }
        if settings.redis_tls:
            where["ssl"] = True
            if settings.redis_ca:
                where["ssl_ca_certs"] = ca_file("REDIS_CA", settings.redis_ca)
        self._client = redis.Redis(**where)
        # The client would resubscribe silently after a disconnect and miss what was published meanwhile.
        self._listener = redis.Redis(**where, retry=Retry(NoBackoff(), 0))
        self._publish = self._client.register_script(_PUBLISH)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()
        self._listener.close()

    def ping(self) -> None:
        """Raises `RetryableError` if the server is down."""
        try:
            self._client.ping()
        except RedisError as error:
            raise self._error(error) from error

    def info(self) -> dict[str, Any]:
        """Redis' statistics, named as by its INFO command."""
        try:
            return dict(self._client.info())
        except RedisError as error:
            raise self._error(error) from error

    def publish(self, channel: Channel[SentRow], rows: Sequence[SentRow]) -> None:
        """Sets each row's key and publishes it on the channel of that name, in order, never older over newer."""
        try:
            with self._client.pipeline(transaction=False) as pipe:
                for row in rows:
                    key = f"{channel.name}:{row.symbol}"
                    args: list[int | bytes] = [row.epoch, row.seq, self._ttl, channel.encode(row)]
                    self._publish(keys=[key, f"{key}:order"], args=args, client=pipe)
                pipe.execute()
        except RedisError as error:
            raise self._error(error) from error

    def latest(self, channel: Channel[SentRow], symbol: str) -> SentRow | None:
        """The newest row of a symbol, or None when it never came or has expired."""
        try:
            value = self._client.get(f"{channel.name}:{symbol}")
        except RedisError as error:
            raise self._error(error) from error
        return None if value is None else _decoded(channel, value)

    def follow(
        self, channel: Channel[SentRow], symbols: tuple[str, ...], poll_s: float = 1.0
    ) -> Iterator[SentRow | None]:
        """Rows as they arrive: first the keys, then the channels; None after each ``poll_s`` without news.

        Pub/sub does not buffer: call this again, which rereads the keys, after every `RetryableError`.
        """
        try:
            with self._listener.pubsub(ignore_subscribe_messages=True) as pubsub:  # type: ignore[no-untyped-call]
                pubsub.subscribe(*(f"{channel.name}:{symbol}" for symbol in symbols))
                for symbol in symbols:
                    if (row := self.latest(channel, symbol)) is not None:
                        yield row
                while True:
                    message = pubsub.get_message(timeout=poll_s)
                    yield None if message is None else _decoded(channel, message["data"])
        except RedisError as error:
            raise self._error(error) from error

    def _error(self, error: RedisError) -> RetryableError | FatalError:
        if isinstance(error, AuthenticationError):
            remedy = "compare REDIS_USER and REDIS_PASSWORD in .env with the server's"
            return FatalError(f"{self._where} refuses us: {remedy}")
        return RetryableError(f"{self._where}: {error}")


def _decoded(channel: Channel[SentRow], value: bytes | str) -> SentRow | None:
    """The row; None for one of another release, which expires within minutes."""
    try:
        return channel.decode(value if isinstance(value, bytes) else value.encode())
    except PoisonError as error:
        log.warning("left out a value of %s: %s", channel.name, error)
        return None
