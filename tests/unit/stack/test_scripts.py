"""The shell part, `scripts/lib.sh`: a wrong Java or a missing Python is one clear line with the remedy."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def _run(function: str, tmp_path: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """Runs a function of lib.sh with programs of the given bodies first on the PATH."""
    for name, body in programs.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"source scripts/lib.sh; {function}"],
        cwd=ROOT,
        env=os.environ | {"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_old_java_is_refused_with_the_remedy(tmp_path: Path) -> None:
    done = _run("need_java", tmp_path, java="echo 'openjdk version \"11.0.2\" 2019-01-15' >&2")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"{tmp_path}/java is version 11, need 17 or newer" in done.stderr
    assert "apt-get install default-jre-headless" in done.stderr


def test_a_new_java_is_taken(tmp_path: Path) -> None:
    assert _run("need_java", tmp_path, java="echo 'openjdk version \"21.0.2\" 2024-01-16' >&2").returncode == 0
    assert _run("need_java", tmp_path, java="echo 'openjdk version \"25\" 2025-09-16' >&2").returncode == 0


def test_python_is_found_by_its_version_not_by_its_name(tmp_path: Path) -> None:
    stub = 'case "$2" in *version_info*) exit {};; esac'
    everywhere = {"python3": stub.format(1), "python3.13": stub.format(0)}
    done = _run("PYTHON='python3 python3.13' find_python", tmp_path, **everywhere)
    assert done.stdout.strip() == f"{tmp_path}/python3.13"


def test_the_machines_own_python_comes_first(tmp_path: Path) -> None:
    done = _run("find_python", tmp_path, **{"python3": "exit 0", "python3.14": "exit 0"})
    assert done.stdout.strip() == f"{tmp_path}/python3"


def test_a_named_python_out_of_range_is_refused_in_one_line(tmp_path: Path) -> None:
    done = _run("PYTHON=old get_python", tmp_path, old="exit 1")
    assert done.returncode == 1
    assert done.stderr == "error: PYTHON=old is not Python 3.11 to 3.14: name another one or unset PYTHON\n"


def test_no_python_in_range_anywhere_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    nothing = dict.fromkeys(("python3", "python3.11", "python3.12", "python3.13", "python3.14", "python"), "exit 1")
    failing = {"apt-get": "exit 0", "dpkg-query": "echo 'install ok installed'", "uv": "exit 1"}
    done = _run("is_python() { return 1; }; get_python", tmp_path, **nothing, **failing)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: no Python 3.11 to 3.14 on this machine, and uv could not download one: "
        "install python3 and its venv module"
    ]


def test_a_failing_package_manager_is_reported_once(tmp_path: Path) -> None:
    failing = {"apt-get": "exit 100", "dpkg-query": "exit 1", "sudo": '"$@"'}
    done = _run("apt_install no-such-package", tmp_path, **failing)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: apt-get could not install no-such-package: check the network and the package sources"
    )
