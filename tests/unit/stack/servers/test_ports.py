"""A taken port is named, with the setting that moves ours and the process that holds it."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lakehouse.errors import FatalError
from stack.layout import layout
from stack.servers import ports
from stack.supervision.process import Process
from tests.support.servers import scratch_settings


def _process(command: tuple[str, ...] = ("x",), *more: str) -> Process:
    return Process("redis", "about", command, ("redis_port", *more), lambda _: None)


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_free_ports_pass(tmp_path: Path) -> None:
    ports.require_free(scratch_settings(tmp_path), [_process()])


def test_a_taken_port_names_holder_and_setting(tmp_path: Path, listener: int) -> None:
    settings = scratch_settings(tmp_path, redis_port=listener)
    holder = re.escape(f"{psutil.Process().name()} (pid {os.getpid()})")
    with pytest.raises(FatalError, match=rf"port {listener} \(redis\) is held by {holder}.*REDIS_PORT"):
        ports.require_free(settings, [_process()])


def test_two_settings_with_one_port_are_named(tmp_path: Path) -> None:
    settings = scratch_settings(tmp_path, api_port=1234, redis_port=1234)
    with pytest.raises(FatalError, match="API_PORT and REDIS_PORT are both 1234"):
        ports.require_free(settings, [_process(("x",), "api_port")])


def test_only_the_very_same_command_is_a_leftover(tmp_path: Path) -> None:
    program = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    )
    command = (sys.executable, "-c", program)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        settings = scratch_settings(tmp_path, redis_port=int(child.stdout.readline()))
        assert ports.leftovers(settings, layout(settings), [_process(command)])["redis"].pid == child.pid
        assert ports.leftovers(settings, layout(settings), [_process((*command, "other"))]) == {}
        with pytest.raises(FatalError, match=r"old redis.*tradelake down"):
            ports.require_free(settings, [_process(command)])
        child.communicate("\n")
