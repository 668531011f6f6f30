"""The object store for real: versions, least privilege, and errors that say whether to wait or to stop."""

import pytest
from minio.error import S3Error

from lakehouse.errors import FatalError, RetryableError
from lakehouse.settings import Settings
from lakehouse.stores.objects import Objects
from stack.layout import layout
from stack.servers import buckets
from tests.support.servers import free_ports


def test_a_second_write_makes_a_version_and_the_first_one_stays(stored_lake: Settings) -> None:
    objects = Objects(stored_lake)
    first = objects.put("a/symbol=BTC%2FUSD/x", b"one")
    second = objects.put("a/symbol=BTC%2FUSD/x", b"two")
    assert first.version != second.version
    assert objects.get("a/symbol=BTC%2FUSD/x") == b"two"
    assert objects.get("a/symbol=BTC%2FUSD/x", first.version) == b"one"
    assert objects.get("nothing here") is None
    assert [(found.key, found.size) for found in objects.list("a/")] == [("a/symbol=BTC%2FUSD/x", 3)]
    objects.close()


def test_each_user_reaches_its_own_bucket_only_and_the_lakes_cannot_delete(stored_lake: Settings) -> None:
    objects = Objects(stored_lake)
    objects.put("kept", b"1")
    with pytest.raises(S3Error, match="AccessDenied"):
        objects._client.remove_object(stored_lake.s3_bucket, "kept")
    for user, key, bucket in (
        (stored_lake.s3_access_key, stored_lake.s3_secret_key, buckets.MLFLOW_BUCKET),
        (stored_lake.mlflow_s3_access_key, stored_lake.mlflow_s3_secret_key, stored_lake.s3_bucket),
    ):
        other = Objects(
            stored_lake.model_copy(update={"s3_access_key": user, "s3_secret_key": key, "s3_bucket": bucket})
        )
        with pytest.raises(FatalError, match="AccessDenied"):
            other.put("x", b"")
        with pytest.raises(FatalError, match="AccessDenied"):
            list(other.list(""))
        other.close()
    objects.close()


def test_errors_carry_the_decision(stored_lake: Settings) -> None:
    wrong = Objects(stored_lake.model_copy(update={"s3_secret_key": stored_lake.api_token}))
    with pytest.raises(FatalError, match="S3_SECRET_KEY"):
        wrong.get("x")
    away = Objects(stored_lake.model_copy(update={"s3_endpoint": f"127.0.0.1:{free_ports(1)[0]}"}))
    with pytest.raises(RetryableError):
        away.get("x")


def test_what_the_stores_disk_lost_is_an_error_of_the_object_not_of_the_store(stored_lake: Settings) -> None:
    store = Objects(stored_lake)
    # Sent in several pieces: the first ones are out before the damaged one is read.
    store.put("large", bytes(5_000_000))
    # SeaweedFS keeps objects side by side in volumes, MinIO each in a folder of its own.
    stored = (layout(stored_lake).state / stored_lake.object_store / "data").rglob("*")
    (rotten,) = [path for path in stored if path.is_file() and bytes(4_000_000) in path.read_bytes()]
    with rotten.open("r+b") as file:
        file.seek(3_000_000)
        file.write(b"rotten")
    with pytest.raises(FatalError, match=r"large.*check the store's disk"):
        store.get("large")
    store.close()


def test_setting_the_store_up_twice_changes_nothing(stored_lake: Settings) -> None:
    objects = Objects(stored_lake)
    objects.put("kept", b"1")
    buckets.ensure(stored_lake)
    assert objects.get("kept") == b"1"
    objects.close()
