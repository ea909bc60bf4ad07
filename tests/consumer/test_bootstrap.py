"""What a process refuses to start on, before it calls anybody."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.exposition import generate_latest

from adapters.engines.processes import free_port
from adapters.errors import ConfigError
from adapters.store import commands as command_rows
from adapters.store import cursors as cursor_rows
from adapters.store import engine as database
from adapters.store import orders as order_rows
from adapters.store.cursors import Cursor
from consumer import bootstrap, config
from consumer.bootstrap import ROLES, Service
from consumer.demo.settings import write_settings
from consumer.leases import RELAY, Leases, poll_lease
from tests.engines import store_lines
from tests.statemachine.lives import read, snapshot_event
from tests.support import StillClock


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Settings for a service whose remotes nobody serves."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    write_settings(tmp_path, {"alpha": nowhere}, nowhere, free_port())
    yield tmp_path


def test_a_taken_port_is_told_before_anything_runs(home: Path) -> None:
    settings = config.load(home / "orderflow.toml")
    with socket.create_server(("127.0.0.1", settings.web.port)):
        service = Service(settings)
        with pytest.raises(ConfigError, match=rf"web: cannot listen on 127.0.0.1:{settings.web.port}"):
            service.start()
        assert service.what_is_dead() == ""
        assert service._threads == []
        service.stop()


def test_the_lock_is_on_the_file_whatever_follows_its_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/orderflow.db"
    held = database.hold_alone(url)
    assert held is not None
    with held, pytest.raises(ConfigError, match="another orderflow runs on"):
        database.hold_alone(f"{url}?timeout=1")


def test_one_process_runs_on_a_store(home: Path) -> None:
    settings = config.load(home / "orderflow.toml")
    first = Service(settings)
    with pytest.raises(ConfigError, match=r"store\.url: another orderflow runs on"):
        Service(settings)
    first.stop()
    Service(settings).stop()


def test_shops_are_bound_in_one_order_whatever_the_files_is(tmp_path: Path) -> None:
    """Two processes that lock them in two orders at their first start would wait for each other."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    write_settings(tmp_path, {"beta": nowhere, "alpha": nowhere}, nowhere, free_port())
    service = Service(config.load(tmp_path / "orderflow.toml"))
    with service.store.reading() as connection:
        bound = connection.exec_driver_sql("SELECT name FROM shops ORDER BY first_seen_at").scalars().all()
    service.stop()
    assert bound == ["alpha", "beta"]


def test_a_store_in_a_folder_that_is_not_there_names_the_key(home: Path) -> None:
    text = (home / "orderflow.toml").read_text().replace("sqlite:///", "sqlite:///missing/")
    (home / "orderflow.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"store\.url: there is no folder .*missing"):
        Service(config.load(home / "orderflow.toml"))


def test_a_key_file_of_two_lines_is_no_key(home: Path) -> None:
    (home / "secrets/alpha.key").write_text("key\nother\n")
    with pytest.raises(ConfigError, match=r"shops\.alpha\.api_key_file: .* holds more than one line"):
        Service(config.load(home / "orderflow.toml"))


def test_a_policy_that_changed_while_nothing_ran_is_planned_at_the_start(home: Path) -> None:
    path = home / "orderflow.toml"
    text = path.read_text()
    path.write_text(text.replace('acceptance = "all"', 'acceptance = "hold"'))
    held = Service(config.load(path))
    held.orders.apply([replace(snapshot_event(read("WAITING_ACCEPTANCE")), shop="alpha")])
    (order,) = order_rows.latest(held.store)
    assert [one.reason for one in order.attention] == ["needs_decision"]
    held.stop()
    path.write_text(text)
    service = Service(config.load(path))
    service._keep_house()
    assert [command.kind for command in command_rows.of_order(service.store, order.key)] == ["accept_order"]
    assert order_rows.latest(service.store)[0].attention == ()
    service.stop()


def test_a_failing_shop_is_asked_at_most_once_an_interval(home: Path) -> None:
    """Nobody listens at its address; and a process that starts anew waits for the rest of the interval."""
    service = Service(config.load(home / "orderflow.toml"))
    waits: list[float] = []
    service._loop = lambda _name, turn: waits.extend((turn(), turn()))  # type: ignore[method-assign, assignment]
    service._poll("alpha")
    assert waits[0] == 0
    assert 0.3 < waits[1] <= 0.5
    lease = service.leases.take(poll_lease("alpha"))
    assert lease is not None
    with service.store.transaction() as tx:
        now = service.clock.now()
        cursor_rows.save(tx, "alpha", Cursor(now, now, now), lease)
    assert 0.3 < service._until_next_poll("alpha") <= 0.5
    service.stop()


# -- Processes of some roles -------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_one_role_alone_is_nothing_for_sqlite(home: Path, role: str) -> None:
    settings = config.load(home / "orderflow.toml")
    with pytest.raises(ConfigError, match=r"store\.url: SQLite serves one process with every role"):
        Service(settings, (role,))
    assert not (home / "orderflow.db").exists(), "nothing was made"
    Service(settings, ROLES).stop()  # and nothing is held


def test_the_embedded_log_is_nothing_for_postgresql(home: Path) -> None:
    _on(home, "postgresql+psycopg://h/db")
    with pytest.raises(ConfigError, match=r'log\.kind: "embedded" is for one process on SQLite'):
        config.load(home / "orderflow.toml")


def _on(home: Path, url: str, more: str = "") -> None:
    path = home / "orderflow.toml"
    path.write_text(re.sub(r'url = "sqlite:.*"\n', store_lines(home, url), path.read_text()) + more)


def test_postgresql_without_a_schema_names_the_command(home: Path, postgres_url: str) -> None:
    _on(home, postgres_url, '[log]\nkind = "kafka"\n[kafka]\nbootstrap_servers = ["127.0.0.1:1"]\n')
    with pytest.raises(ConfigError, match="run `orderflow migrate` first"):
        Service(config.load(home / "orderflow.toml"), ("worker",))


def test_who_stops_gives_its_leases_back_and_the_next_one_polls_at_once(home: Path) -> None:
    settings = config.load(home / "orderflow.toml")
    first = Service(settings, holder="one")
    assert first.leases.take_share("alpha", 1)
    assert first.leases.take(RELAY)
    first.stop()
    second = Service(settings, holder="two")
    assert second.leases.take_share("alpha", 1)
    assert second.leases.take(RELAY)
    second.stop()


def test_loops_that_do_not_end_are_waited_for_together(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 64 workers may wait for a remote that hangs; a second for each was more than a minute."""
    monkeypatch.setattr(bootstrap, "STOP_SECONDS", 0.1)
    service = Service(config.load(home / "orderflow.toml"))
    never = threading.Event()

    def hang() -> None:
        never.wait()

    for number in range(64):
        service._run(f"worker:{number}", hang)
    began = time.monotonic()
    service.stop()
    assert time.monotonic() - began < 20
    never.set()


def test_a_process_that_does_not_lead_neither_polls_nor_keeps_house(home: Path) -> None:
    settings = config.load(home / "orderflow.toml")
    service = Service(settings, holder="one")
    other = Leases(service.store, service.clock, "two", 600)
    assert other.take(RELAY)
    assert other.take(poll_lease("alpha"))
    waits: list[float] = []
    service._loop = lambda _name, turn: waits.append(turn())  # type: ignore[method-assign, assignment]
    service._poll("alpha")
    assert (waits, service._keep_house()) == ([service.leases.renew_seconds], service.leases.renew_seconds)
    assert cursor_rows.find(service.store, "alpha") is None
    exposed = generate_latest(service.metrics.registry).decode()
    assert 'orderflow_leader{role="poller",shop="alpha"} 0.0' in exposed
    assert 'orderflow_leader{role="relay",shop=""} 0.0' in exposed
    other.release_all()
    service._keep_house()
    assert 'orderflow_leader{role="relay",shop=""} 1.0' in generate_latest(service.metrics.registry).decode()
    service.stop()


def leads(service: Service, role: str, shop: str) -> float:
    exposed = generate_latest(service.metrics.registry).decode()
    return float(exposed.split(f'orderflow_leader{{role="{role}",shop="{shop}"}} ')[1].split("\n")[0])


def test_who_cannot_renew_its_leases_leads_no_longer_than_they_last(home: Path) -> None:
    """Another process leads by then, so the sum over all would be 2: a false alarm."""
    settings, clock = config.load(home / "orderflow.toml"), StillClock()
    service = Service(settings, clock=clock)
    service._loop = lambda _name, turn: turn()  # type: ignore[method-assign, assignment]
    service._keep_house()
    service._poll("alpha")
    clock.advance(settings.leases.seconds - 1)
    assert (leads(service, "relay", ""), leads(service, "poller", "alpha")) == (1, 1)
    clock.advance(1)
    assert (leads(service, "relay", ""), leads(service, "poller", "alpha")) == (0, 0)
    service.stop()


def test_simulators_overwrite_no_configuration(home: Path) -> None:
    with pytest.raises(ConfigError, match="exists already"):
        write_settings(home, {}, "http://127.0.0.1:1", 1)
