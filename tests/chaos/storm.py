"""The storm: a whole lake under load and faults, whose processes and tables are hurt by plan and come back."""

import heapq
import json
import logging
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psutil

from ingestion.migrate import migrate
from lakehouse.errors import LakeError
from lakehouse.settings import Settings
from lakehouse.stores import kafka
from lakehouse.stores.questdb import QuestDB
from stack.layout import layout
from tests.chaos.plan import Planned
from tests.chaos.told import Inflicted, Told
from tests.support.servers import SERVERS, LocalServers

log = logging.getLogger(__name__)
FEED = ("consumer", "simulator", "producer")
# Frames lost, doubled, swapped, merged, broken and misdated; trades that only REST tells; connections cut, refused and
# frozen; streams acknowledged and silent; maintenance; REST busy. Of quotes none is dropped: Kraken does not number
# them, so no client can tell that one is missing.
FAULTS = (
    {"kind": "drop", "p": 0.002, "channel": "trade"},
    {"kind": "double", "p": 0.01},
    {"kind": "reorder", "p": 0.01},
    {"kind": "batch", "p": 0.02},
    {"kind": "corrupt", "p": 0.001},
    {"kind": "wrong", "p": 0.001},
    {"kind": "future", "p": 0.0005},
    {"kind": "hole", "p": 0.0005},
    {"kind": "silent", "p": 0.02},
    {"kind": "close", "code": 1012, "at": 9, "every": 97},
    {"kind": "throttle", "from": 12, "until": 18, "every": 113},
    {"kind": "reset", "at": 15, "every": 131},
    {"kind": "refuse_handshake", "from": 15, "until": 17, "every": 131},
    {"kind": "freeze", "from": 20, "until": 33, "every": 151},
    {"kind": "close", "code": 1001, "at": 43, "every": 173},
    {"kind": "close", "code": 1013, "at": 60, "every": 211},
    {"kind": "maintenance", "from": 85, "until": 89, "every": 307},
)


@dataclass
class Storm:
    """A lake to be hurt; `inflicted` says what was done to it, `restarts` what ended and was started again."""

    servers: LocalServers
    inflicted: list[Inflicted] = field(default_factory=list)
    restarts: list[Told] = field(default_factory=list)
    up: set[str] = field(default_factory=lambda: set(SERVERS))
    _began: float = 0.0
    _steps: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        """The lake's settings."""
        return self.servers.settings

    def begin(self, serving: Sequence[str] = ()) -> None:
        """Tables and topics, then every process."""
        questdb = QuestDB(self.settings)
        migrate(self.settings, questdb, kafka.admin(self.settings))
        questdb.close()
        self.servers.start("consumer", "simulator", *serving)
        self.servers.start("producer")
        self.up |= {*FEED, *serving}

    def rage(self, faults: Sequence[Planned]) -> None:
        """Does what is planned; returns when all that was taken away has been given back."""
        self._began = time.monotonic()
        for fault in faults:
            self._later(fault.at_s, partial(self._inflict, fault))
        while self._steps:
            moment, _, step = heapq.heappop(self._steps)
            while time.monotonic() - self._began < moment:
                self.tend()
                time.sleep(0.2)
            try:
                step()
            except LakeError as error:
                log.info("a step of the storm waits: %s", error)
                self._later(self._elapsed() + 1.0, step)

    def tend(self) -> None:
        """Starts again whatever has ended by itself, as a supervisor would."""
        for name in sorted(self.up):
            if psutil.Process(self.servers.pid(name)).status() == psutil.STATUS_ZOMBIE:
                log.warning("%s has ended; starting it again", name)
                self.servers.kill(name)
                self._start(name)

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _later(self, moment: float, step: Callable[[], None]) -> None:
        heapq.heappush(self._steps, (moment, time.monotonic_ns(), step))

    def _inflict(self, fault: Planned) -> None:
        log.info("%s of %s for %.1f s", fault.kind, ", ".join(fault.targets), fault.for_s)
        at, end = datetime.now(UTC), self._elapsed() + fault.for_s
        match fault.kind:
            # The market goes on without the simulator, whose absence is that of the exchange.
            case "kill" | "pair" | "cut":
                for name in fault.targets:
                    self._kill(name)
                self._later(end, partial(self._back, fault, at))
            case "pause":
                self._signal(fault.targets[0], psutil.Process.suspend)
                self._later(end, partial(self._back, fault, at))
            case "drop":
                self._drop(fault.targets[0])
                self._note(fault, at)
            case _:  # power
                copy = self._copy(fault.targets[0])
                self._later(end, partial(self._put_back, fault, copy))

    def _back(self, fault: Planned, at: datetime) -> None:
        for name in fault.targets:
            if name in self.up:
                self._signal(name, psutil.Process.resume)
            else:
                self._start(name)
        self._note(fault, at)

    def _note(self, fault: Planned, at: datetime) -> None:
        self.inflicted.append(Inflicted(fault.kind, fault.targets, at, datetime.now(UTC)))

    def _kill(self, name: str) -> None:
        if name in self.up:
            self.up.remove(name)
            self.servers.kill(name)

    def _start(self, name: str) -> None:
        self.servers.start(name, ready=False)
        self.up.add(name)
        self.restarts.append(Told(datetime.now(UTC), name, "restart", "had ended"))

    def _signal(self, name: str, send: Callable[[psutil.Process], None]) -> None:
        if name in self.up:
            send(psutil.Process(self.servers.pid(name)))

    def _drop(self, table: str) -> None:
        questdb = QuestDB(self.settings, timeout_s=5.0)
        try:
            questdb.execute(f"DROP TABLE IF EXISTS {table}")
        finally:
            questdb.close()

    def _copy(self, name: str) -> Path:
        """The folder as a power cut leaves it: of one moment, which is why the server stands still meanwhile."""
        copy = self._folder(name).with_name(f"{name}-{time.monotonic_ns()}")
        self._signal(name, psutil.Process.suspend)
        try:
            subprocess.run(["cp", "--reflink=auto", "-a", self._folder(name), copy], check=True)
        finally:
            self._signal(name, psutil.Process.resume)
        return copy

    def _put_back(self, fault: Planned, copy: Path) -> None:
        at, name = datetime.now(UTC), fault.targets[0]
        self._kill(name)
        shutil.rmtree(self._folder(name))
        copy.rename(self._folder(name))
        self._start(name)
        self._note(fault, at)

    def _folder(self, name: str) -> Path:
        return layout(self.settings).state / name


def write_faults(folder: Path, seed: int) -> Path:
    """The simulator's fault script."""
    path = folder / "faults.json"
    path.write_text(json.dumps({"seed": seed, "faults": FAULTS}))
    return path
