"""The spec names each feature once, and its hash follows what a row depends on."""

import subprocess
import sys
from dataclasses import replace

from features.spec import COLUMNS, FEATURES, NAMES, EngineConfig, spec_hash
from features.table import SILVER


def test_names_are_distinct_and_fit_the_table() -> None:
    table = SILVER
    assert len(set(table.names)) == len(table.names)
    assert NAMES == tuple(c.name for c in COLUMNS) == tuple(f.name for f in FEATURES)
    assert all(c.doc and c.type == "DOUBLE" for c in COLUMNS)


def test_the_forecasters_columns_are_there() -> None:
    wanted = [f"rv_{w}" for w in ("10s", "1m", "5m", "15m", "1h", "4h", "24h")]
    wanted += [f"ewma_rv_{h}m" for h in (5, 15, 30, 60, 120, 240)]
    wanted += ["rv_tod", "tod_sin", "tod_cos", "dow", "bid", "ask", "mid", "last"]
    assert set(wanted) <= set(NAMES)


def test_the_hash_is_stable_and_follows_the_configuration() -> None:
    config = EngineConfig()
    hashes = {spec_hash(c) for c in (config, replace(config, interval_ms=0), replace(config, vol_step_s=60))}
    assert len(hashes) == 3
    assert all(len(h) == 12 and int(h, 16) >= 0 for h in hashes)
    code = "from features.spec import *; print(spec_hash(EngineConfig()))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == spec_hash(config)
    assert spec_hash(replace(config, sparse=frozenset({"A/B"}))) == other, "a symbol's ids are no definition"
