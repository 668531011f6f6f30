"""One row through a real champion against a bare Flask and Waitress endpoint, in the same run; the last line is JSON.

The champion is five boosters of 300 trees of depth 6 with a linear part on top of HAR, trained on synthetic rows. Both
servers run in processes of their own, take the same body over connections that stay open, and are asked in turns.

``python -m bench.serving [--seconds S]``
"""

import argparse
import json
import logging
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import orjson
import psutil
import waitress
import xgboost
from flask import Flask, Response, request

from features.spec import NAMES
from forecast.model import inputs
from forecast.model.baselines import Rule
from forecast.model.correction import Correction
from forecast.model.forecaster import Forecaster
from forecast.model.linear import Linear
from forecast.model.rows import FeatureRows
from forecast.model.targets import Target
from forecast.serve import SWITCH_S
from forecast.serving.app import Services, create_app
from forecast.serving.bodies import Parser
from forecast.serving.models_in_service import ModelsInService, probe_rows
from forecast.serving.registry_watcher import RegistryWatcher, simple_rule
from lakehouse.settings import HORIZONS_S, load_settings
from tests.support.servers import free_ports

SPEC = "0123456789ab"
TREES = 300
CLIENTS = 4
ROUNDS = 6


def train() -> Forecaster:
    """A volatility model as training makes them, on synthetic rows."""
    rng = np.random.default_rng(5)
    matrix = probe_rows(NAMES, 4000) * rng.lognormal(0, 0.3, (4000, len(NAMES)))
    table = inputs.table(FeatureRows(matrix, NAMES))
    wanted = np.nan_to_num(table[:, 1:9]).sum(axis=1) / 10 + rng.normal(0, 0.5, len(table))
    boosters = []
    for seed in range(len(HORIZONS_S)):
        parameters = {"max_depth": 6, "eta": 0.05, "seed": seed, "subsample": 0.8, "max_bin": 32, "nthread": 1}
        boosters.append(xgboost.train(parameters, xgboost.DMatrix(table, wanted), TREES))
    width = table.shape[1]
    line = Linear(tuple(range(width)), np.zeros(width), np.ones(width), 0.0, np.full(width, 0.001))
    correction = Correction(
        "vol", "xgboost", inputs.NAMES, (line,) * 5, tuple(boosters), tuple((0.5, 0.5) for _ in HORIZONS_S)
    )
    rule = simple_rule("vol", NAMES, SPEC)
    har = tuple(Rule("har", {"coefficients": [-0.1, 0.4, 0.3, 0.2]}) for _ in HORIZONS_S)
    return Forecaster("xgboost", "vol", SPEC, NAMES, har, rule.calibration, correction)


class Folder:
    """A registry of one folder, whose champion moves between two copies of the model as often as it is asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.version = 1

    def champion(self, target: Target) -> int | None:
        """The version to serve; only volatility has one."""
        return self.version if target == "vol" else None

    def digest(self, target: Target, version: int) -> str | None:
        """Not known: whichever version is asked for, the files are the same."""
        del target, version
        return None

    def fetch(self, target: Target, version: int, folder: Path) -> None:
        """Copies the model, whichever version is asked for."""
        del target, version
        for file in self._folder.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())

    def ensure_baselines(self) -> None:
        """Nothing to register."""


def serve_ours(port: int, folder: Path, swapping: "multiprocessing.synchronize.Event") -> None:
    """Our application; while ``swapping`` is set a new version comes into service as fast as it can be loaded."""
    with tempfile.TemporaryDirectory() as scratch:
        models, registry = ModelsInService(), Folder(folder)
        watcher = RegistryWatcher(lambda: registry, lambda _: None, models, Path(scratch), NAMES, SPEC)
        watcher.start()
        watcher.poll()
        settings = load_settings(_env_file=None, source="simulator", var_dir=scratch)
        app = create_app(Services(settings, lambda _: None, Parser(NAMES, SPEC), models, {}, {}, dict, dict))

        def keep_swapping() -> None:
            while True:
                swapping.wait()
                registry.version += 1
                watcher.poll()

        threading.Thread(target=keep_swapping, daemon=True).start()
        sys.setswitchinterval(SWITCH_S)
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        waitress.serve(app, host="127.0.0.1", port=port, threads=4, _quiet=True)


def serve_bare(port: int) -> None:
    """The least that Flask and Waitress can do with a POST."""
    app = Flask(__name__)

    @app.post("/")
    def answer() -> Response:
        request.get_data()
        return Response(b"{}", mimetype="application/json")

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    waitress.serve(app, host="127.0.0.1", port=port, threads=4, _quiet=True)


@contextmanager
def running(target: Callable[..., None], *arguments: object) -> Iterator[int]:
    """The server in a process of its own; gives its process id."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments, daemon=True)
    process.start()
    try:
        yield int(process.pid or 0)
    finally:
        process.terminate()
        process.join()


def wait_for(port: int, path: str, body: bytes) -> None:
    """Returns once the server answers 200."""
    for _ in range(1200):
        try:
            if ask(HTTPConnection("127.0.0.1", port), path, body)[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"nothing on port {port}")


def ask(connection: HTTPConnection, path: str, body: bytes) -> tuple[int, float]:
    """One POST: status and seconds."""
    begun = time.perf_counter()
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    return response.status, time.perf_counter() - begun


def load(port: int, path: str, body: bytes, seconds: float, clients: int) -> tuple[list[float], float, int]:
    """Latencies in seconds, requests per second and errors, of clients that ask as fast as they are answered."""

    def client(_: int) -> tuple[list[float], int]:
        connection = HTTPConnection("127.0.0.1", port)
        taken, errors, end = [], 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            status, took = ask(connection, path, body)
            taken.append(took)
            errors += status != 200
        connection.close()
        return taken, errors

    with ThreadPoolExecutor(clients) as pool:
        results = list(pool.map(client, range(clients)))
    taken = [t for part, _ in results for t in part]
    return taken, len(taken) / seconds, sum(errors for _, errors in results)


def milliseconds(taken: list[float], percentile: float) -> float:
    """A percentile of the latencies, in ms."""
    return round(float(np.percentile(taken, percentile)) * 1e3, 3)


def main() -> None:
    """Runs the rounds and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--soak", type=float, default=0.0, help="then so many seconds at 200 requests/s")
    arguments = parser.parse_args()
    values = [None if np.isnan(v) else float(v) for v in probe_rows(NAMES)[1]]
    one = orjson.dumps({"data": [dict(zip(NAMES, values, strict=True))]})
    thousand = orjson.dumps({"data": [values] * 1000})
    ours, bare = free_ports(2)
    swapping = multiprocessing.get_context("spawn").Event()
    with tempfile.TemporaryDirectory() as scratch:
        train().save(Path(scratch))
        with running(serve_bare, bare), running(serve_ours, ours, Path(scratch), swapping) as pid:
            wait_for(bare, "/", one)
            wait_for(ours, "/predict_vol", one)
            figures = compare(ours, bare, one, arguments.seconds)
            many, _, errors = load(ours, "/predict_vol", thousand, arguments.seconds, 1)
            swapping.set()
            during, _, more = load(ours, "/predict_vol", one, 2 * arguments.seconds, 1)
            swapping.clear()
            figures |= {
                "rows_1000_p50_ms": milliseconds(many, 50),
                "swapping_p50_ms": milliseconds(during, 50),
                "swapping_p99_ms": milliseconds(during, 99),
            }
            figures["errors"] += errors + more
            if arguments.soak:
                figures |= soak(ours, one, arguments.soak, pid)
    print(json.dumps(figures))


def compare(ours: int, bare: int, one: bytes, seconds: float) -> dict[str, float]:
    """Both servers in turns, alone and with several clients."""
    taken: dict[str, list[float]] = {"ours": [], "bare": []}
    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    errors = 0
    for _ in range(ROUNDS):
        for name, port, path in (("bare", bare, "/"), ("ours", ours, "/predict_vol")):
            alone, _, wrong = load(port, path, one, seconds / 2, 1)
            _, rate, more = load(port, path, one, seconds / 2, CLIENTS)
            taken[name] += alone
            rates[name].append(rate)
            errors += wrong + more
    p50 = {name: milliseconds(all_taken, 50) for name, all_taken in taken.items()}
    per_s = {name: float(np.median(all_rates)) for name, all_rates in rates.items()}
    return {
        "bare_p50_ms": p50["bare"],
        "ours_p50_ms": p50["ours"],
        "ours_p99_ms": milliseconds(taken["ours"], 99),
        "latency_ratio": round(p50["ours"] / p50["bare"], 3),
        "bare_per_s": round(per_s["bare"]),
        "ours_per_s": round(per_s["ours"]),
        "throughput_ratio": round(per_s["ours"] / per_s["bare"], 3),
        "errors": errors,
    }


def soak(port: int, body: bytes, seconds: float, pid: int) -> dict[str, float]:
    """200 requests/s for a while: errors, latency, and memory at the end of the first tenth and at the very end."""
    connection, process = HTTPConnection("127.0.0.1", port), psutil.Process(pid)
    begun, taken, errors, first = time.perf_counter(), [], 0, 0
    for i in range(int(200 * seconds)):
        status, took = ask(connection, "/predict_vol", body)
        taken.append(took)
        errors += status != 200
        if i == int(20 * seconds):
            first = process.memory_info().rss
        time.sleep(max(0.0, begun + (i + 1) / 200 - time.perf_counter()))
    last = process.memory_info().rss
    return {
        "soak_s": seconds,
        "soak_per_s": round(len(taken) / (time.perf_counter() - begun), 1),
        "soak_errors": errors,
        "soak_p50_ms": milliseconds(taken, 50),
        "soak_p99_ms": milliseconds(taken, 99),
        "soak_rss_mb_first": round(first / 2**20, 1),
        "soak_rss_mb_last": round(last / 2**20, 1),
    }


if __name__ == "__main__":
    main()
