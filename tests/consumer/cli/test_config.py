"""`orderflow config`: the settings with their origins, without secrets, and their schema."""

import json
import re
from pathlib import Path

import pytest

from tests.consumer.cli.runner import (
    FILE,
    error_of,
    json_of,
    output_of,
)


def test_the_configuration_is_shown_with_its_origins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = re.sub(r"^url = .*", 'url = "sqlite://hunter2@/x.db"', FILE, count=1, flags=re.MULTILINE)
    text += '[kafka]\nssl_password_file = "f"\ngroup_id = "orderflow"\n'
    (tmp_path / "orderflow.toml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("ORDERFLOW_WEB__PORT", "9000")
    found = {row["key"]: (row["value"], row["origin"]) for row in json_of("config", "show")}
    assert found["web.port"] == (9000, "environment")
    assert found["web.host"] == ("127.0.0.1", "default")
    assert found["shops.alpha.shop_id"] == (2104, "file")
    assert found["shops.alpha.api_key_file"] == (str(tmp_path / "alpha.key"), "file")
    assert found["kafka.ssl_password_file"] == (str(tmp_path / "f"), "file")
    assert found["store.url"] == ("sqlite://(hidden)@/x.db", "file")
    assert "hunter2" not in output_of("config", "show")


def test_a_configuration_with_a_password_in_it_is_refused_and_not_shown(tmp_path: Path) -> None:
    text = re.sub(r"^url = .*", 'url = "sqlite:///x.db?password=hunter2"', FILE, count=1, flags=re.MULTILINE)
    (tmp_path / "orderflow.toml").write_text(text, encoding="utf-8")
    error = error_of("config", "show")
    assert "orderflow.toml: store.url: a password belongs into a file" in error
    assert "hunter2" not in error


def test_the_schema_of_the_configuration_is_json() -> None:
    schema = json.loads(output_of("config", "schema"))
    assert {"store", "shops", "web"} <= schema["properties"].keys()
