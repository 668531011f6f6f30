"""A short storm under load and faults loses nothing, doubles nothing, bends nothing, and tells what it cost."""

import json
import subprocess
import sys

import pytest

from tests.chaos.plan import SERVING, VICTIMS


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("kinds", "kills", "victims"),
    [("kill", 9, dict.fromkeys((*VICTIMS, *SERVING), 1)), ("pair,pause,drop,cut,power", 5, {})],
)
def test_a_short_storm_leaves_no_trace(kinds: str, kills: int, victims: dict[str, int]) -> None:
    size = ["--events", "9000", "--per-second", "600", "--kills", str(kills), "--scale", "0.3"]
    command = [sys.executable, "-m", "tests.chaos", *size, "--faults", kinds, "--seed", "3"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    verdict = json.loads(done.stdout.splitlines()[-1])
    assert verdict["victims"] == victims
    assert sum(verdict["faults"].values()) == kills
    assert verdict["events"] >= 9000
    counts = dict.fromkeys(("lost", "doubled", "wrong", "unmarked", "untold"), 0)
    assert {name: verdict[name] for name in counts} == counts, verdict
