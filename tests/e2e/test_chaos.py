"""A short storm: kill -9 of each process under load and faults loses nothing, doubles nothing, bends nothing."""

import json
import subprocess
import sys

import pytest


@pytest.mark.timeout(300)
def test_a_short_storm_leaves_no_trace() -> None:
    command = [sys.executable, "-m", "tests.chaos", "--kills", "5", "--events", "6000", "--per-second", "600"]
    done = subprocess.run([*command, "--seed", "3"], stdout=subprocess.PIPE, text=True, check=True)
    verdict = json.loads(done.stdout.splitlines()[-1])
    assert verdict["victims"] == dict.fromkeys(("producer", "consumer", "questdb", "kafka", "redis"), 1)
    assert verdict["events"] >= 6000
    assert {name: verdict[name] for name in ("lost", "doubled", "wrong")} == {"lost": 0, "doubled": 0, "wrong": 0}, (
        verdict
    )
