"""What a process refuses to start on, before it calls anybody."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from adapters import views
from adapters.engines import free_port
from adapters.ports import ConfigError
from adapters.store import Cursor
from consumer import config
from consumer.bootstrap import Service
from consumer.demo import write_settings
from consumer.lease import poll_lease
from tests.statemachine.lives import read, snapshot_event


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Settings for a service whose remotes nobody serves."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    write_settings(tmp_path, {"alpha": nowhere}, nowhere, free_port())
    yield tmp_path


def test_a_taken_port_is_told_before_anything_runs(folder: Path) -> None:
    settings = config.load(folder / "orderflow.toml")
    with socket.create_server(("127.0.0.1", settings.web.port)):
        service = Service(settings)
        with pytest.raises(ConfigError, match=rf"web: cannot listen on 127.0.0.1:{settings.web.port}"):
            service.start()
        assert service.what_is_dead() == ""
        assert service._threads == []
        service.stop()


def test_one_process_runs_on_a_store(folder: Path) -> None:
    settings = config.load(folder / "orderflow.toml")
    first = Service(settings)
    with pytest.raises(ConfigError, match=r"store\.url: another orderflow runs on"):
        Service(settings)
    first.stop()
    Service(settings).stop()


def test_a_store_in_a_folder_that_is_not_there_names_the_key(folder: Path) -> None:
    text = (folder / "orderflow.toml").read_text().replace("sqlite:///", "sqlite:///missing/")
    (folder / "orderflow.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"store\.url: there is no folder .*missing"):
        Service(config.load(folder / "orderflow.toml"))


def test_a_key_file_of_two_lines_is_no_key(folder: Path) -> None:
    (folder / "secrets/alpha.key").write_text("key\nother\n")
    with pytest.raises(ConfigError, match=r"shops\.alpha\.api_key_file: .* holds more than one line"):
        Service(config.load(folder / "orderflow.toml"))


def test_a_policy_that_changed_while_nothing_ran_is_planned_at_the_start(folder: Path) -> None:
    path = folder / "orderflow.toml"
    text = path.read_text()
    path.write_text(text.replace('acceptance = "all"', 'acceptance = "hold"'))
    held = Service(config.load(path))
    held.orders.apply([replace(snapshot_event(read("WAITING_ACCEPTANCE")), shop="alpha")])
    (order,) = views.orders(held.store)
    assert [reason for reason, *_ in order.attention] == ["needs_decision"]
    held.stop()
    path.write_text(text)
    service = Service(config.load(path))
    service._keep_house()
    assert [command.kind for command in views.commands(service.store, order.key)] == ["accept_order"]
    assert views.orders(service.store)[0].attention == ()
    service.stop()


def test_a_failing_shop_is_asked_at_most_once_an_interval(folder: Path) -> None:
    """Nobody listens at its address; and a process that starts anew waits for the rest of the interval."""
    service = Service(config.load(folder / "orderflow.toml"))
    waits: list[float] = []
    service._loop = lambda _name, turn: waits.extend((turn(), turn()))  # type: ignore[method-assign, assignment]
    service._poll("alpha")
    assert waits[0] == 0
    assert 0.3 < waits[1] <= 0.5
    lease = service.leases.take(poll_lease("alpha"))
    assert lease is not None
    with service.store.transaction() as tx:
        now = service.clock.now()
        tx.set_cursor("alpha", Cursor(now, now, now), lease)
    assert 0.3 < service._until_next_poll("alpha") <= 0.5
    service.stop()


def test_simulators_overwrite_no_configuration(folder: Path) -> None:
    with pytest.raises(ConfigError, match="exists already"):
        write_settings(folder, {}, "http://127.0.0.1:1", 1)
