"""The object store (S3 API): reads and writes whole objects and returns their versions."""

import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3.exceptions import HTTPError, ProtocolError

from lakehouse.errors import FatalError, RetryableError
from lakehouse.settings import Settings

log = logging.getLogger(__name__)

_BUSY = {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "XMinioServerNotInitialized"}
_REFUSED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
_MISSING = {"NoSuchKey", "NoSuchVersion", "NoSuchObject"}


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored object; ``version`` is None if the bucket keeps no versions."""

    key: str
    size: int
    version: str | None


class Objects:
    """One bucket; errors carry whether to wait (`RetryableError`) or to stop (`FatalError`)."""

    def __init__(self, settings: Settings) -> None:
        self.bucket = settings.s3_bucket
        self._where = f"object store at {settings.s3_address}, bucket {settings.s3_bucket}"
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=5, read=60),
            maxsize=8,
            retries=urllib3.Retry(total=2, backoff_factor=0.2, respect_retry_after_header=False),
        )
        self._client = Minio(
            settings.s3_address,
            access_key=settings.s3_access_key,
            secret_key=settings.s3_secret_key.get_secret_value(),
            secure=settings.s3_secure,
            # Set the region, so that the client sends no extra request, which would need another permission.
            region=settings.s3_region,
            http_client=self._pool,
        )

    def close(self) -> None:
        """Closes the connections."""
        self._pool.clear()

    def put(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> Stored:
        """Stores an object atomically; a second write of the same key creates a new version.

        Raises:
            RetryableError: the store is down or busy. FatalError: it refuses us, or the bucket is missing.
        """
        try:
            result = self._client.put_object(self.bucket, key, io.BytesIO(data), len(data), content_type=content_type)
        except (MinioException, HTTPError) as error:
            raise self._error(error, key) from error
        return Stored(key, len(data), result.version_id)

    def get(self, key: str, version: str | None = None) -> bytes | None:
        """The bytes of an object (its newest version unless one is named); None if there is none.

        Raises:
            RetryableError: the store is down or busy. FatalError: it refuses us, cannot read the object from its disk,
                or the bucket is missing.
        """
        try:
            return self._get(key, version)
        except ProtocolError:
            log.info("%s: %s broke off, once more", self._where, key)
        except RetryableError:
            # A store that is away or busy fails here again; one that knows the object cannot give its bytes.
            self.newest(key)
        try:
            return self._get(key, version)
        except (ProtocolError, RetryableError) as error:
            # A store that went away would not have answered in between, nor again.
            raise FatalError(f"{self._where}: {key} cannot be read: check the store's disk; {error!s:.200}") from error

    def _get(self, key: str, version: str | None) -> bytes | None:
        try:
            response = self._client.get_object(self.bucket, key, version_id=version)
            try:
                return bytes(response.data)
            finally:
                response.close()
                response.release_conn()
        except ProtocolError:
            raise
        except (MinioException, HTTPError) as error:
            if isinstance(error, S3Error) and error.code in _MISSING:
                return None
            raise self._error(error, key) from error

    def newest(self, key: str) -> Stored | None:
        """The version that readers get by default, without its bytes; None if there is none or it was deleted.

        Raises:
            RetryableError: the store is down or busy. FatalError: it refuses us, or the bucket is missing.
        """
        try:
            found = self._client.stat_object(self.bucket, key)
        except (MinioException, HTTPError) as error:
            if isinstance(error, S3Error) and error.code in _MISSING:
                return None
            raise self._error(error, key) from error
        return Stored(key, int(found.size or 0), found.version_id)

    def list(self, prefix: str) -> Iterator[Stored]:
        """The newest version of every object whose key starts with ``prefix``, in order of keys.

        Raises:
            RetryableError: the store is down or busy. FatalError: it refuses us, or the bucket is missing.
        """
        try:
            for found in self._client.list_objects(self.bucket, prefix=prefix, recursive=True):
                yield Stored(str(found.object_name), int(found.size or 0), found.version_id)
        except (MinioException, HTTPError) as error:
            raise self._error(error, prefix) from error

    def _error(self, error: Exception, key: str) -> RetryableError | FatalError:
        if isinstance(error, S3Error):
            if error.code in _REFUSED:
                return FatalError(f"{self._where}: {error.code} for {key}: compare S3_ACCESS_KEY and S3_SECRET_KEY")
            if error.code == "NoSuchBucket":
                return FatalError(f"{self._where}: no such bucket: create it, or run tradelake up --full, which does")
            if error.code not in _BUSY:
                return FatalError(f"{self._where}: {error.code} for {key}: {error.message}")
        if isinstance(error, S3Error | ServerError | InvalidResponseError | HTTPError):
            return RetryableError(f"{self._where}: {key}: {error!s:.300}")
        return FatalError(f"{self._where}: {key}: {error!s:.300}")
