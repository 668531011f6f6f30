"""Background thread that makes tables and views go on which QuestDB halted while its disk was full."""

import logging
import threading
from collections.abc import Callable

from lakehouse.errors import LakeError
from lakehouse.settings import Settings
from lakehouse.stores.halted import resume
from lakehouse.stores.questdb import QuestDB

log = logging.getLogger(__name__)
EVERY_S = 15.0


class TableResumer:
    """Looks every few seconds; tries nothing while there is no room.

    Args:
        has_room: whether the disk has room again.
    """

    def __init__(self, settings: Settings, has_room: Callable[[], bool], stop: threading.Event) -> None:
        self._settings = settings
        self._has_room = has_room
        self._stop = stop

    def run(self, every_s: float = EVERY_S) -> None:
        """Runs until stopped."""
        questdb = QuestDB(self._settings)
        while not self._stop.wait(every_s):
            if self._has_room():
                self.look(questdb)
        questdb.close()

    def look(self, questdb: QuestDB) -> None:
        """Makes go on what is halted, and says so."""
        try:
            for one in resume(questdb):
                log.warning("%s was %s (%s): %s", one.name, one.state, one.reason, one.remedy)
        except LakeError as error:
            log.warning("halted tables stay so for now: %s", error)
