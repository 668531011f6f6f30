"""Ctrl-C and SIGTERM end a command within two seconds, in Python, in compiled code and in clean-up that hangs."""

import signal
import subprocess
import sys
import time

import pytest

PROBE = """
import sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from tradelake.conventions import command

@command("probe", "tradelake probe")
def probe() -> None:
    {body}

probe()
"""
BODIES = {
    "python": "print('ready', flush=True); [sum(range(1000)) for _ in iter(int, 1)]",
    "sleeping": "print('ready', flush=True); time.sleep(60)",
    "compiled": (
        "import polars as pl; print('ready', flush=True); "
        "[pl.select(pl.int_range(0, 1 << 25).cast(pl.Float64).sin().sum()) for _ in range(600)]"
    ),
    "threads": (
        "pool = ThreadPoolExecutor(2); [pool.submit(time.sleep, 60) for _ in range(2)]; "
        "print('ready', flush=True); time.sleep(60)"
    ),
    "cleaning": "\\n    ".join(
        ("try:", "    print('ready', flush=True); time.sleep(60)", "finally:", "    threading.Event().wait(60)")
    ),
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("body", list(BODIES))
def test_a_signal_ends_a_command_at_once(body: str, number: signal.Signals) -> None:
    code = PROBE.format(body=BODIES[body].replace("\\n", "\n"))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        time.sleep(0.2)
        begun = time.monotonic()
        child.send_signal(number)
        errors = child.communicate(timeout=20)[1].decode()
        took = time.monotonic() - begun
    assert child.returncode == 128 + number
    # Two seconds are promised; a machine busy with other tests may need more, what it waits for takes a minute.
    assert took < 15
    assert "Traceback" not in errors
    ended = "without waiting for clean-up" in errors
    assert ended == (body == "cleaning") or body == "compiled"


def test_what_is_stopped_in_time_cleans_up() -> None:
    body = "\n    ".join(("try:", "    print('ready', flush=True); time.sleep(60)", "finally:", "    print('clean')"))
    code = PROBE.format(body=body)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGTERM)
        out, errors = child.communicate(timeout=20)
    assert out == b"clean\n"
    assert errors.decode() == "stopped by SIGTERM: finished work stays, run the command again for the rest\n"
