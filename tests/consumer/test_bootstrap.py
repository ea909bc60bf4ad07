"""For which errors a process refuses to start, before it calls any remote; and which parts each role has."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from adapters.engines.processes import free_port
from adapters.errors import ConfigError
from adapters.store import engine
from consumer import bootstrap, config
from consumer.bootstrap import ROLES, build_parts
from consumer.demo.settings import CALLBACK_SECRET, write_settings
from consumer.leases import RELAY
from consumer.service import Parts
from tests.consumer.rig import InProcess
from tests.engines import store_lines


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder with settings for a service. No remote answers at their addresses."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    write_settings(tmp_path, {"alpha": nowhere}, nowhere, free_port())
    yield tmp_path


def settings_of(home: Path) -> config.Settings:
    return config.load(home / "orderflow.toml")


def build(home: Path, stack: ExitStack) -> Parts:
    """The parts of every role, closed with the stack."""
    parts = build_parts(settings_of(home))
    stack.callback(parts.closing.close)
    return parts


def test_the_lock_is_on_the_file_whatever_options_the_url_has(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/orderflow.db"
    held = engine.hold_alone(url)
    assert held is not None
    with held, pytest.raises(ConfigError, match="another orderflow runs on"):
        engine.hold_alone(f"{url}?timeout=1")


def test_one_process_runs_on_a_store(home: Path) -> None:
    with ExitStack() as stack:
        build(home, stack)
        with pytest.raises(ConfigError, match=r"store\.url: another orderflow runs on"):
            build_parts(settings_of(home))
    build_parts(settings_of(home)).closing.close()


def test_what_was_opened_is_closed_where_building_fails(home: Path) -> None:
    skus = home / "alpha.skus"
    text = skus.read_text()
    skus.unlink()
    with pytest.raises(ConfigError, match=r"shops\.alpha\.known_skus_file"):
        build_parts(settings_of(home))
    skus.write_text(text)
    build_parts(settings_of(home)).closing.close()  # the lock of the SQLite file was given back


def test_shops_are_bound_in_one_order_whatever_that_of_the_file(tmp_path: Path) -> None:
    """If two processes locked the rows in different orders at their first start, they could wait for each other."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    write_settings(tmp_path, {"beta": nowhere, "alpha": nowhere}, nowhere, free_port())
    with ExitStack() as stack:
        store = build(tmp_path, stack).base.store
        with store.reading() as connection:
            bound = connection.exec_driver_sql("SELECT name FROM shops ORDER BY first_seen_at").scalars().all()
    assert bound == ["alpha", "beta"]


def test_the_error_of_a_store_in_a_missing_folder_names_the_key(home: Path) -> None:
    text = (home / "orderflow.toml").read_text().replace("sqlite:///", "sqlite:///missing/")
    (home / "orderflow.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"store\.url: there is no folder .*missing"):
        build_parts(settings_of(home))


def test_a_key_file_of_two_lines_is_refused(home: Path) -> None:
    (home / "secrets/alpha.key").write_text("key\nother\n")
    with pytest.raises(ConfigError, match=r"shops\.alpha\.api_key_file: .* holds more than one line"):
        build_parts(settings_of(home))


def test_simulators_overwrite_no_configuration(home: Path) -> None:
    with pytest.raises(ConfigError, match="exists already"):
        write_settings(home, {}, "http://127.0.0.1:1", 1)


# -- Processes of some roles --------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_sqlite_refuses_a_process_of_one_role(home: Path, role: str) -> None:
    with pytest.raises(ConfigError, match=r"store\.url: SQLite serves one process with every role"):
        build_parts(settings_of(home), (role,))
    assert not (home / "orderflow.db").exists(), "nothing was created"
    build_parts(settings_of(home)).closing.close()  # and nothing is locked


def test_the_embedded_log_refuses_postgresql(home: Path) -> None:
    _on(home, "postgresql+psycopg://h/db")
    with pytest.raises(ConfigError, match=r'log\.kind: "embedded" is for one process on SQLite'):
        settings_of(home)


def _on(home: Path, url: str, more: str = "") -> None:
    path = home / "orderflow.toml"
    path.write_text(re.sub(r'url = "sqlite:.*"\n', store_lines(home, url), path.read_text()) + more)


def test_the_error_of_postgresql_without_a_schema_names_the_command(home: Path, postgres_url: str) -> None:
    _on(home, postgres_url, '[log]\nkind = "kafka"\n[kafka]\nbootstrap_servers = ["127.0.0.1:1"]\n')
    with pytest.raises(ConfigError, match="run `orderflow migrate` first"):
        build_parts(settings_of(home), ("worker",))


@pytest.mark.parametrize(("has_secret", "expected"), [(True, 200), (False, 401)])
def test_a_shop_without_a_callback_secret_has_no_endpoint(home: Path, has_secret: bool, expected: int) -> None:
    path = home / "orderflow.toml"
    if not has_secret:
        path.write_text(re.sub(r"callback_secret_file = .*\n", "", path.read_text()))
    with ExitStack() as stack:
        (server,) = build(home, stack).servers(what_is_stuck=lambda: "", what_is_not_ready=lambda: "")
        app = server.application
        client = stack.enter_context(httpx.Client(transport=InProcess(app), base_url="http://orderflow"))
        bearer = {"Authorization": f"Bearer {CALLBACK_SECRET}-alpha"}
        body = b'{"id":1,"status":8,"external_ref":"1-A"}'
        assert client.put("/oms/callbacks/alpha", content=body, headers=bearer).status_code == expected


def test_two_shops_cannot_have_one_callback_secret(tmp_path: Path) -> None:
    home, nowhere = tmp_path / "two", "http://127.0.0.1:1"
    write_settings(home, {"alpha": nowhere, "beta": nowhere}, nowhere, free_port())
    (home / "secrets/beta-callback.key").write_text(f"another-secret-{'x' * 16}\n{CALLBACK_SECRET}-alpha\n")
    with pytest.raises(ConfigError, match=r"shops\.beta\.oms\.callback_secret_file: holds the secret of shops\.alpha"):
        build_parts(settings_of(home))


def test_callbacks_have_a_port_of_their_own_if_the_settings_name_one(home: Path) -> None:
    path = home / "orderflow.toml"
    path.write_text(path.read_text() + f"[intake]\nport = {free_port()}\n")
    with ExitStack() as stack:
        web, intake = build(home, stack).servers(what_is_stuck=lambda: "", what_is_not_ready=lambda: "")
        for server, answers in ((web, {"/live": 200, "/metrics": 200}), (intake, {"/live": 404, "/metrics": 404})):
            client = stack.enter_context(httpx.Client(transport=InProcess(server.application), base_url="http://o"))
            assert {asked: client.get(asked).status_code for asked in answers} == answers
            expected = 404 if server is web else 401
            assert client.put("/oms/callbacks/alpha", content=b"{}").status_code == expected


def test_a_process_that_stops_gives_its_leases_back(home: Path) -> None:
    """The next process polls at once."""
    for holder in ("one", "two"):
        service = bootstrap.build(settings_of(home), holder=holder)
        leases = service.base.leases
        assert leases.take_share("alpha", 1), holder
        assert leases.take(RELAY), holder
        service.stop()
