"""Exit statuses of every command; pure."""

from enum import IntEnum


class ExitStatus(IntEnum):
    """How a command ended; a command stopped by a signal ends with 128 + its number."""

    OK = 0
    FAILED = 1  # a server is away or busy: running it again may help
    USAGE = 2
    REFUSED = 3  # wrong data, a wrong setting, a check that found something: running it again changes nothing
    NOTHING_TO_DO = 99  # Airflow shows the task as skipped
