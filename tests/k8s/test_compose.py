"""compose.yaml: its commands, settings and ports fit the program. test_compose_runs.py runs them."""

import re
from pathlib import Path

import pytest

from consumer import config
from consumer.bootstrap import ROLES
from consumer.config import ENV_PREFIX
from consumer.demo.settings import write_settings
from tests.k8s.compose import COMPOSE, OURS, SCRAPED, SERVICES
from tests.k8s.fitting import USER, misused

ALIKE = [name for name in OURS if name != "simulators"]


def settings_of(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> config.Settings:
    """The settings that a service reads: the file that the simulators write, and its variables."""
    nowhere = "http://127.0.0.1:1"
    file = write_settings(folder, {"alpha": nowhere}, nowhere, 9464)
    for variable, value in OURS[name]["environment"].items():
        monkeypatch.setenv(variable, value)
    return config.load(file)


@pytest.mark.parametrize("name", OURS)
def test_the_command_line_takes_each_command(name: str) -> None:
    assert misused(OURS[name]["command"]) == ""


def test_every_role_runs_once() -> None:
    assert sorted(one["command"][1] for one in OURS.values() if one["command"][0] == "run") == sorted(ROLES)


@pytest.mark.parametrize("name", ALIKE)
def test_the_settings_are_read_and_processes_do_not_take_each_other_s_port(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = settings_of(name, tmp_path, monkeypatch)
    assert found.log.kind == "kafka"
    assert not found.store.is_sqlite
    run = {name: one for name, one in OURS.items() if one["command"][0] == "run"}
    ports = {name: one["environment"][f"{ENV_PREFIX}WEB__PORT"] for name, one in run.items()}
    assert len(set(ports.values())) == len(ROLES)
    assert ports == SCRAPED
    simulated = OURS["simulators"]["command"]
    assert OURS["web"]["environment"][f"{ENV_PREFIX}WEB__PORT"] == simulated[simulated.index("--port") + 1]


def test_the_topics_of_the_settings_are_created() -> None:
    (script,) = SERVICES["topics"]["command"]
    assert set(re.findall(r"in (.+); do", script)[0].split()) == set(config.TopicsTable().model_dump().values())


def test_the_folder_of_the_configuration_is_that_of_the_user_of_the_image() -> None:
    assert f"uid={USER},gid={USER},mode=0700" in COMPOSE["volumes"]["demo"]["driver_opts"]["o"]
    assert all("user" not in one for one in OURS.values())


@pytest.mark.parametrize("name", ALIKE)
def test_a_process_gets_nothing_that_it_does_not_need(name: str) -> None:
    one = OURS[name]
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["network_mode"] == "service:simulators"
    assert all(volume.endswith(":ro") for volume in one["volumes"])
