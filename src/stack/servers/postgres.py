"""The lake's own PostgreSQL cluster for the metadata of Airflow and MLflow, with one role and database each."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import psycopg2

from lakehouse.errors import FatalError, RetryableError
from lakehouse.settings import Settings
from stack.servers.preparation import write_private

ROLES = ("airflow", "mlflow")
# The user that Debian's package creates; PostgreSQL refuses to run as root.
UNPRIVILEGED = "postgres"


def binaries() -> Path | None:
    """The folder of PostgreSQL's newest programs; None if it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    path = str(found[-1]) if found else shutil.which("postgres")
    return None if path is None else Path(path).resolve().parent


def in_use(settings: Settings) -> bool:
    """Whether metadata goes to PostgreSQL: it is installed, or POSTGRES_HOST names another machine."""
    return settings.postgres_host not in ("127.0.0.1", "localhost") or binaries() is not None


def command(settings: Settings, folder: Path) -> tuple[str, ...]:
    """The command of a small server in the foreground, on our address only, with its socket in its own folder."""
    options = {
        "listen_addresses": settings.bind_host,
        "port": settings.postgres_port,
        "unix_socket_directories": "",
        "shared_buffers": "32MB",
        "max_connections": "60",
        "password_encryption": "scram-sha-256",
        "log_min_messages": "warning",
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    return (*_as_unprivileged(), str(_program("postgres")), "-D", str(folder / "data"), *arguments)


def prepare(settings: Settings, folder: Path) -> None:
    """Creates the cluster with its roles and databases, completely or not at all; keeps an existing one.

    Roles are created in single-user mode: the superuser has no password and cannot log in over the network.

    Raises:
        FatalError: PostgreSQL failed; the message quotes it.
    """
    if (folder / "data").exists():
        return
    draft = folder / "data.new"
    shutil.rmtree(draft, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        shutil.chown(folder, UNPRIVILEGED)
    locale = ("--locale=C.UTF-8", "--encoding=UTF8", "--auth=reject")
    _run((str(_program("initdb")), "-D", str(draft), f"--username={UNPRIVILEGED}", *locale), "", folder)
    _run((str(_program("postgres")), "--single", "-D", str(draft), "postgres"), _statements(settings), folder)
    # Each role reaches its own database only, with its password.
    lines = "".join(f"host {role} {role} all scram-sha-256\n" for role in ROLES)
    write_private(draft / "pg_hba.conf", lines)
    if os.geteuid() == 0:
        shutil.chown(draft / "pg_hba.conf", UNPRIVILEGED)
    draft.rename(folder / "data")


def uri(settings: Settings, role: str) -> str:
    """The SQLAlchemy URL of a role's database, including the password."""
    password = getattr(settings, f"postgres_{role}_password").get_secret_value()
    return f"postgresql+psycopg2://{role}:{password}@{settings.postgres_host}:{settings.postgres_port}/{role}"


def answers(settings: Settings) -> None:
    """A probe: both roles can log in to their databases."""
    for role in ROLES:
        address = uri(settings, role).replace("+psycopg2", "")
        try:
            psycopg2.connect(address, connect_timeout=2).close()
        except psycopg2.OperationalError as error:
            raise RetryableError(f"PostgreSQL as {role}: {str(error).strip()[:200]}") from error


def _statements(settings: Settings) -> str:
    lines = ["SET password_encryption = 'scram-sha-256'"]
    for role in ROLES:
        password = getattr(settings, f"postgres_{role}_password").get_secret_value().replace("'", "''")
        lines += [f"CREATE ROLE {role} LOGIN PASSWORD '{password}'", f"CREATE DATABASE {role} OWNER {role}"]
        lines += [f"REVOKE ALL ON DATABASE {role} FROM PUBLIC"]
    return "".join(line + ";\n" for line in lines)


def _program(name: str) -> Path:
    folder = binaries()
    if folder is None:
        raise FatalError("PostgreSQL is not installed: apt-get install postgresql")
    return folder / name


def _as_unprivileged() -> tuple[str, ...]:
    """For root: the prefix that runs a command as another user."""
    if os.geteuid() != 0:
        return ()
    try:
        pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise FatalError(
            f"PostgreSQL refuses to run as root, and there is no user {UNPRIVILEGED}: run as another user"
        ) from None
    return ("/usr/bin/setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--init-groups")


def _run(words: tuple[str, ...], stdin: str, folder: Path) -> None:
    done = subprocess.run(
        (*_as_unprivileged(), *words), input=stdin, capture_output=True, text=True, check=False, cwd=folder
    )
    # Single-user mode exits with status 0 even if statements fail.
    if done.returncode != 0 or "ERROR:" in done.stderr:
        raise FatalError(f"{Path(words[0]).name} failed in {folder}: {done.stderr.strip()[-500:]}")
