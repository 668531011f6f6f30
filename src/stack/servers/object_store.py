"""The object store that `--full` and the tests run: SeaweedFS from its wheel, or MinIO where it was built."""

import json
import sys
from pathlib import Path

from lakehouse.errors import FatalError, RetryableError
from lakehouse.settings import Settings
from stack.layout import Layout
from stack.servers import buckets, probes
from stack.servers.preparation import write_private
from stack.supervision.process import Process

NAME = "object-store"
_INSIDE = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")


def object_store(settings: Settings, paths: Layout) -> Process:
    """The server that `Settings.object_store` names."""
    if settings.object_store == "minio":
        return _minio(settings, paths)
    return _seaweedfs(settings, paths)


def prepare_store(settings: Settings, paths: Layout) -> None:
    """Makes the store's folder and the files that hold its keys, which only we may read.

    Raises:
        FatalError: MinIO was asked for and not built, or the folder belongs to the other server.
    """
    folder = paths.state / settings.object_store
    other = paths.state / ("minio" if settings.object_store == "seaweedfs" else "seaweedfs")
    if other.exists() and not folder.exists():
        raise FatalError(f"this lake's objects are in {other.name}: set OBJECT_STORE={other.name} in .env")
    (folder / "data").mkdir(parents=True, exist_ok=True)
    # Both servers keep keys in files that everybody could read.
    folder.chmod(0o700)
    if settings.object_store == "minio":
        _prepare_minio(settings, paths, folder)
    else:
        write_private(folder / "users.json", json.dumps(_identities(settings)))


def _seaweedfs(settings: Settings, paths: Layout) -> Process:
    folder, host = paths.state / "seaweedfs", settings.bind_host
    inside = dict(zip(_INSIDE, range(settings.seaweedfs_port, settings.seaweedfs_port + len(_INSIDE)), strict=True))
    options = {
        "dir": folder / "data",
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        **inside,
        # Volumes are files that grow as needed; small ones, so that emptied ones are given back early.
        "master.volumeSizeLimitMB": 256,
        "volume.max": 0,
        "volume.preStopSeconds": 0,
        "filer": "true",
        # The filer's own page and API know no users: everything goes through S3.
        "filer.disableHttp": "true",
        "master.telemetry": "false",
        "s3": "true",
        "s3.ip.bind": host,
        "s3.port": settings.s3_port,
        "s3.port.grpc": settings.seaweedfs_port + len(_INSIDE),
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.config": folder / "users.json",
    }
    return Process(
        NAME,
        "backups and model files",
        (str(Path(sys.executable).with_name("weed")), "server", *(f"-{key}={value}" for key, value in options.items())),
        ("s3_port", "seaweedfs_port"),
        _seaweedfs_answers,
        profile="full",
        # A bucket starts with one volume instead of seven: a store has only as many as would fit on the disk, all full.
        environment={"GOMAXPROCS": "2", "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
        once_healthy=buckets.ensure,
    )


def _identities(settings: Settings) -> dict[str, object]:
    """SeaweedFS' users: the administrator, and one for each bucket with `buckets.policy` as its rights."""
    admin = {
        "name": settings.s3_admin_user,
        "credentials": [_credentials(settings.s3_admin_user, settings.s3_admin_password.get_secret_value())],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    users = buckets.users(settings)
    named = [
        {"name": u.name, "credentials": [_credentials(u.name, u.key)], "policyNames": [f"only-{u.name}"]} for u in users
    ]
    policies = [{"name": f"only-{u.name}", "content": json.dumps(buckets.policy(u.bucket, *u.actions))} for u in users]
    return {"identities": [admin, *named], "policies": policies}


def _credentials(user: str, key: str) -> dict[str, str]:
    return {"accessKey": user, "secretKey": key}


def _seaweedfs_answers(settings: Settings) -> None:
    """S3 answers, and the master knows the volume server: without it every read is an internal error."""
    probes.get(f"http://{settings.s3_address}/healthz")
    topology = probes.get(f"http://127.0.0.1:{settings.seaweedfs_port}/dir/status").json()["Topology"]
    if not topology.get("DataCenters"):
        raise RetryableError("SeaweedFS is up, but its volumes are not registered yet")


def _prepare_minio(settings: Settings, paths: Layout, folder: Path) -> None:
    if not (paths.servers / "minio").exists():
        raise FatalError(f"MinIO not found in {paths.servers}: run scripts/up.sh --full, which builds it once")
    password = settings.s3_admin_password.get_secret_value()
    lines = f"MINIO_ROOT_USER={settings.s3_admin_user}\nMINIO_ROOT_PASSWORD={password}\n"
    write_private(folder / "minio.env", lines)


def _minio(settings: Settings, paths: Layout) -> Process:
    host, folder = settings.bind_host, paths.state / "minio"
    addresses = (
        "--address",
        f"{host}:{settings.s3_port}",
        "--console-address",
        f"{host}:{settings.minio_console_port}",
    )
    return Process(
        NAME,
        "backups and model files; console",
        (str(paths.servers / "minio"), "server", *addresses, str(folder / "data")),
        ("s3_port", "minio_console_port"),
        _minio_answers,
        profile="full",
        environment={
            "MINIO_CONFIG_ENV_FILE": str(folder / "minio.env"),
            "MINIO_PROMETHEUS_AUTH_TYPE": "public",
            "MINIO_UPDATE": "off",
            "GOMAXPROCS": "2",
        },
        once_healthy=buckets.ensure,
    )


def _minio_answers(settings: Settings) -> None:
    probes.get(f"http://{settings.s3_address}/minio/health/ready")
