"""Creates the object store's versioned buckets and a least-privilege user for each."""

import logging
from dataclasses import dataclass
from typing import Any

import urllib3
from minio import Minio, MinioAdmin
from minio.credentials import StaticProvider
from minio.error import MinioAdminException, MinioException, S3Error, ServerError
from minio.versioningconfig import ENABLED, VersioningConfig
from urllib3.exceptions import HTTPError

from lakehouse.errors import FatalError, RetryableError
from lakehouse.settings import Settings

log = logging.getLogger(__name__)
MLFLOW_BUCKET = "mlflow"
READ_WRITE = ("s3:GetObject", "s3:GetObjectVersion", "s3:PutObject")


@dataclass(frozen=True, slots=True)
class StoreUser:
    """A user of the object store: its name and key, its one bucket, and what it may do with objects there."""

    name: str
    key: str
    bucket: str
    actions: tuple[str, ...]


def users(settings: Settings) -> tuple[StoreUser, StoreUser]:
    """The lake's user, which cannot delete, and MLflow's."""
    deleting = ("s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
    return (
        StoreUser(settings.s3_access_key, settings.s3_secret_key.get_secret_value(), settings.s3_bucket, READ_WRITE),
        StoreUser(
            settings.mlflow_s3_access_key,
            settings.mlflow_s3_secret_key.get_secret_value(),
            MLFLOW_BUCKET,
            (*READ_WRITE, *deleting),
        ),
    )


def policy(bucket: str, *actions: str) -> dict[str, Any]:
    """A policy for one bucket: list it, and ``actions`` on its objects."""
    listing = ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": listing, "Resource": [f"arn:aws:s3:::{bucket}"]},
            {"Effect": "Allow", "Action": list(actions), "Resource": [f"arn:aws:s3:::{bucket}/*"]},
        ],
    }


def ensure(settings: Settings) -> None:
    """Creates buckets, users and policies; idempotent.

    The lake's user cannot delete: its key can add versions to the backups but never remove any.

    Raises:
        RetryableError: the store is down. FatalError: it refuses its administrator.
    """
    root = (settings.s3_admin_user, settings.s3_admin_password.get_secret_value())
    pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=2, read=10), retries=urllib3.Retry(0))
    how: dict[str, Any] = {"region": settings.s3_region, "secure": settings.s3_secure, "http_client": pool}
    client = Minio(settings.s3_address, *root, **how)
    try:
        for user in users(settings):
            if not client.bucket_exists(user.bucket):
                client.make_bucket(user.bucket)
                log.info("created bucket %s", user.bucket)
            client.set_bucket_versioning(user.bucket, VersioningConfig(ENABLED))
        if settings.object_store == "minio":
            # SeaweedFS reads its users from a file that is written before it starts.
            _make_users(MinioAdmin(endpoint=settings.s3_address, credentials=StaticProvider(*root), **how), settings)
    except (HTTPError, ServerError) as error:
        raise RetryableError(f"object store at {settings.s3_address}: {error!s:.200}") from error
    except (MinioException, MinioAdminException) as error:
        if isinstance(error, S3Error) and error.code == "XMinioServerNotInitialized":
            raise RetryableError(f"object store at {settings.s3_address} is still starting") from error
        raise FatalError(f"object store at {settings.s3_address} refuses its administrator: {error!s:.200}") from error


def _make_users(admin: MinioAdmin, settings: Settings) -> None:
    for user in users(settings):
        name = f"only-{user.bucket}"
        admin.policy_add(name, policy=policy(user.bucket, *user.actions))
        admin.user_add(user.name, user.key)
        # Not attach_policy: that one complains when the user has the policy already.
        admin.policy_set(name, user=user.name)
