"""Commands say in one line that a server is away: `ingestion.consumer.start_offsets`, `ingestion.silver.rebuild`."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ingestion.consumer import start_offsets
from ingestion.dead_letters import letters
from ingestion.silver import rebuild
from lakehouse.stores import kafka
from stack.envfile import child_environment
from tests.support.servers import scratch_settings


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (letters.main, ["list"]),
        (start_offsets.main, ["accept-loss"]),
        (rebuild.main, ["--symbol", "BTC/USD"]),
    ],
)
def test_a_command_says_in_a_line_that_a_server_is_away(
    main: Callable[[], int | None], arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in child_environment(scratch_settings(tmp_path)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    monkeypatch.setattr(kafka, "TIMEOUT_S", 0.5)
    with pytest.raises(SystemExit) as ended:
        sys.exit(main())
    assert ended.value.code == 1 or "failed: " in str(ended.value.code)
