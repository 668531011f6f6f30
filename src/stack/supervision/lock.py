"""One start or stop of a lake at a time: a lock on a file that the kernel frees however its holder ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from lakehouse.errors import RetryableError
from stack.layout import Layout


@contextmanager
def alone(paths: Layout, command: str) -> Iterator[None]:
    """Holds the lake's lock for the block; the file says who holds it.

    Args:
        command: who we are, e.g. ``tradelake up``.

    Raises:
        RetryableError: another start or stop of this lake is under way.
    """
    paths.run.mkdir(parents=True, exist_ok=True)
    with (paths.run / "up.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another start or stop"
            raise RetryableError(f"{holder} of the lake in {paths.var} is under way: wait for its end") from None
        file.truncate(0)
        file.write(f"{command} (pid {os.getpid()})\n")
        file.flush()
        yield
