"""The storm: a whole lake under load and faults, whose processes are killed at random and started again."""

import json
import logging
import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

from ingestion.migrate import migrate
from lakehouse.settings import Settings
from lakehouse.stores import kafka
from lakehouse.stores.questdb import QuestDB
from tests.support.servers import LocalServers

log = logging.getLogger(__name__)
VICTIMS = ("producer", "consumer", "questdb", "kafka", "redis")
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
class Kill:
    """One kill -9: of whom, when, and when the process was started again."""

    victim: str
    at: datetime
    back: datetime


@dataclass
class Storm:
    """A lake to be hurt; `kills` tells what was done to it."""

    servers: LocalServers
    seed: int
    kills: list[Kill] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        """The lake's settings."""
        return self.servers.settings

    def begin(self) -> None:
        """Tables and topics, then every process."""
        questdb = QuestDB(self.settings)
        migrate(self.settings, questdb, kafka.admin(self.settings))
        questdb.close()
        self.servers.start("consumer", "simulator")
        self.servers.start("producer")

    def rage(self, seconds: float, kills: int) -> None:
        """Kills at random moments of that span, each process as often as the others, in random order."""
        dice = random.Random(self.seed)
        began = time.monotonic()
        victims = [VICTIMS[i % len(VICTIMS)] for i in range(kills)]
        dice.shuffle(victims)
        for moment in sorted(dice.uniform(2.0, seconds) for _ in range(kills)):
            while time.monotonic() - began < moment:
                self.tend()
                time.sleep(0.2)
            self._kill(victims.pop(), dice.uniform(0.0, 2.0))

    def tend(self) -> None:
        """Starts again whatever has ended by itself, as a supervisor would."""
        for name in ("simulator", *VICTIMS):
            if psutil.Process(self.servers.pid(name)).status() == psutil.STATUS_ZOMBIE:
                log.warning("%s has ended; starting it again", name)
                self.servers.kill(name)
                self.servers.start(name, ready=False)

    def _kill(self, victim: str, pause_s: float) -> None:
        at = datetime.now(UTC)
        self.servers.kill(victim)
        time.sleep(pause_s)
        self.servers.start(victim, ready=False)
        self.kills.append(Kill(victim, at, datetime.now(UTC)))
        log.info("kill %d: %s, away for %.1f s", len(self.kills), victim, pause_s)


def write_faults(folder: Path, seed: int) -> Path:
    """The simulator's fault script."""
    path = folder / "faults.json"
    path.write_text(json.dumps({"seed": seed, "faults": FAULTS}))
    return path
