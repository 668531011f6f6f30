"""Runs a one-shot command: settings and logs first, the result on stdout, an exit status for the outcome."""

import logging
import sys
from collections.abc import Callable

import orjson

from lakehouse.errors import LakeError, NothingToDoError
from lakehouse.process import set_up_logging
from lakehouse.settings import Settings, load_settings

log = logging.getLogger(__name__)
# Makes the DAG show the task as skipped, not as done.
NOTHING_TO_DO = 99


def run(what: str, work: Callable[[Settings], object]) -> None:
    """Runs ``work`` and prints its result (dataclasses, lists, plain values) as one line of JSON.

    Exits with `NOTHING_TO_DO` on a `NothingToDoError`, with 1 and one clear line on any other `LakeError`.
    """
    try:
        settings = load_settings()
        set_up_logging(settings.log_level)
        result = work(settings)
    except NothingToDoError as error:
        log.warning("%s", error)
        sys.exit(NOTHING_TO_DO)
    except LakeError as error:
        sys.exit(f"{what} failed: {error}")
    sys.stdout.write(orjson.dumps(result).decode() + "\n")
