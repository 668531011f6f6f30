"""`.env` gains what is missing and never loses or changes a line; the example names every setting."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from lakehouse.settings import Settings, load_settings
from stack import envfile

ROOT = Path(__file__).resolve().parents[3]


def test_a_first_env_holds_every_secret_once() -> None:
    lines = envfile.completed("", lambda: "made").splitlines()[1:]
    assert lines == [f"{name.upper()}=made" for name in envfile.secret_names()]
    assert "QUESTDB_PASSWORD=made" in lines


def test_what_is_there_stays_as_it_is() -> None:
    text = "# mine\nexport REDIS_PASSWORD = old\nAPI_PORT=1234"
    after = envfile.completed(text, lambda: "made")
    assert after.startswith(text + "\n")
    assert "REDIS_PASSWORD=made" not in after
    assert "API_TOKEN=made" in after
    assert envfile.completed(after, lambda: "other") == after


def test_a_secret_that_others_give_is_not_made_up() -> None:
    assert "KAFKA_PASSWORD" not in envfile.completed("", lambda: "made")


def test_a_commented_line_is_no_value() -> None:
    assert "REDIS_PASSWORD=made" in envfile.completed("# REDIS_PASSWORD=\n", lambda: "made")


def test_the_example_in_the_repository_is_current() -> None:
    assert (ROOT / ".env.example").read_text() == envfile.example(), "run: tradelake env-example > .env.example"


def test_the_example_changes_nothing_when_uncommented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [line.removeprefix("# ") for line in envfile.example().splitlines()]
    names = {name.upper() for name in Settings.model_fields}
    env = tmp_path / "env"
    env.write_text("\n".join(line for line in lines if line.split("=")[0] in names))
    assert len(env.read_text().splitlines()) == len(names)
    assert load_settings(_env_file=env) == load_settings(_env_file=None)


def test_a_child_reads_the_very_same_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(
        _env_file=None, var_dir=tmp_path, symbols=("A/B", "C/D"), s3_secure=True, api_token=SecretStr("x y=z")
    )
    for name, value in envfile.child_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings(_env_file=None) == settings
