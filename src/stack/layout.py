"""The paths of a lake's files on disk."""

from dataclasses import dataclass
from pathlib import Path

from lakehouse.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
MAX_SOCKET_PATH = 100


@dataclass(frozen=True, slots=True)
class Layout:
    """Absolute paths; ``state`` belongs to one source, ``run`` and ``servers`` are shared."""

    var: Path
    state: Path
    servers: Path

    @property
    def run(self) -> Path:
        """supervisord's configuration, socket and process id."""
        return self.var / "run"

    @property
    def logs(self) -> Path:
        """One rotated log per process."""
        return self.state / "logs"

    @property
    def socket(self) -> Path:
        """supervisord's socket."""
        return self.run / "supervisor.sock"

    @property
    def source_record(self) -> Path:
        """The file with the name of the chosen market."""
        return self.var / "source"

    @property
    def market_record(self) -> Path:
        """Holds the parameters of the simulated market that the lake's rows come from."""
        return self.state / "market.json"

    @property
    def full_record(self) -> Path:
        """Exists once ``--full`` was requested: from then on every start is a full one."""
        return self.state / "full"


def layout(settings: Settings) -> Layout:
    """The paths for these settings, made absolute from the working directory."""
    return Layout(settings.var_dir.resolve(), settings.state_dir.resolve(), settings.servers_dir.resolve())
