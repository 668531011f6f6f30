"""Describes one supervised process."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lakehouse.settings import Settings
from stack.servers import probes

Profile = Literal["core", "simulator", "full"]
# With the interpreter, as the kernel would run the script: the command line found in /proc is the same.
TRADELAKE = (sys.executable, str(Path(sys.executable).with_name("tradelake")))


def run(*arguments: str) -> tuple[str, ...]:
    """The command of one of our processes: ``tradelake run ...``."""
    return (*TRADELAKE, "run", *arguments)


@dataclass(frozen=True, slots=True)
class Process:
    """One supervised process.

    Attributes:
        name: as in status, logs and log files.
        command: absolute program and arguments.
        ports: names of the settings that hold the ports it listens on; the first one is its address.
        probe: raises `LakeError` unless the process answers as a client would want.
        after: processes that must be healthy before this one is started.
        stop_stage: lower stages are stopped first.
        profile: core always runs, simulator only for the simulated market, full only on request.
        once_healthy: called after each start, before dependent processes start; must be idempotent.
    """

    name: str
    about: str
    command: tuple[str, ...]
    ports: tuple[str, ...]
    probe: probes.Probe
    after: tuple[str, ...] = ()
    stop_stage: int = 9
    profile: Profile = "core"
    environment: dict[str, str] = field(default_factory=dict)
    once_healthy: Callable[[Settings], None] | None = None

    def port_numbers(self, settings: Settings) -> dict[str, int]:
        """Setting name in capitals to port number."""
        return {name.upper(): getattr(settings, name) for name in self.ports}

    def come_up(self, settings: Settings) -> None:
        """Probes the process, then calls `once_healthy`.

        Raises:
            LakeError: it is not healthy yet.
        """
        self.probe(settings)
        if self.once_healthy is not None:
            self.once_healthy(settings)
