"""`orderflow run`, `init`, `migrate`, `diagram` and `version`."""

from pathlib import Path

import pytest

from adapters.errors import StoreUnavailable
from adapters.store.transaction import Store
from consumer import config
from consumer.cli.output import BAD_ANSWER
from consumer.cli.service import in_time
from consumer.config.secrets import secret_files
from statemachine import diagram
from tests.consumer.cli.runner import (
    FILE,
    error_of,
    output_of,
)
from tests.consumer.operations.desk import Desk
from tests.engines import store_lines
from tests.support import StillClock


def test_init_writes_the_example_and_never_overwrites_a_file(tmp_path: Path) -> None:
    output_of("init")
    assert (tmp_path / "orderflow.toml").read_text(encoding="utf-8") == config.example()
    assert error_of("init") == "orderflow: orderflow.toml exists already\n"
    assert "cannot be written" in error_of("init", "--path", "none/orderflow.toml")


def test_migrate_creates_the_schema_and_can_be_repeated(tmp_path: Path) -> None:
    output_of("init")
    for _ in range(2):
        output_of("migrate", "--config", "orderflow.toml")
    store = Store(f"sqlite:///{tmp_path}/orderflow.db")
    assert store.schema_fits()
    store.close()


def test_migrate_check_changes_nothing_and_answers_by_its_exit_code(tmp_path: Path, postgres_url: str) -> None:
    output_of("init")
    assert "run `orderflow migrate --config" in error_of("migrate", "--check", code=BAD_ANSWER)
    assert not (tmp_path / "orderflow.db").exists()
    output_of("migrate")
    assert output_of("migrate", "--check") == "The store's schema fits this version.\n"
    many = (
        FILE.replace('url = "sqlite:///orderflow.db"\n', store_lines(tmp_path, postgres_url))
        + '[log]\nkind = "kafka"\n'
    )
    (tmp_path / "many.toml").write_text(many)
    assert "run `orderflow migrate" in error_of("migrate", "--check", "--config", "many.toml", code=BAD_ANSWER)
    assert "run `orderflow migrate --config many.toml`" in error_of("orders", "list", "--config", "many.toml")
    output_of("migrate", "--config", "many.toml")
    output_of("migrate", "--check", "--config", "many.toml")


@pytest.mark.parametrize(
    ("wait", "answers"),
    [
        (0, [True]),
        (0, [False]),
        (0, [None]),
        (60, [True]),
        (60, [False, True]),
        (60, [False, False]),
        (60, [None, None]),
    ],
)
def test_each_look_asks_once(wait: float, answers: list[bool | None]) -> None:
    """A look that asked twice would migrate twice. Each look takes a minute here; None: the store does not answer."""
    asked: list[bool | None] = []
    clock = StillClock()

    def holds() -> bool:
        asked.append(answers[len(asked)])
        clock.advance(60)
        if asked[-1] is None:
            raise StoreUnavailable("unavailable")
        return asked[-1]

    if answers[-1] is None:
        with pytest.raises(StoreUnavailable):
            in_time(wait, holds, clock)
    else:
        assert in_time(wait, holds, clock) is answers[-1]
    assert asked == answers


def test_run_builds_the_service_of_the_settings_with_its_roles(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from consumer import bootstrap, service

    ran: list[str] = []

    monkeypatch.setattr(service, "run", lambda build: build())
    monkeypatch.setattr(bootstrap, "build", lambda settings, roles: ran.extend((*settings.shops, *roles)))
    output_of("run", "all", "--config", "orderflow.toml")
    assert ran == ["alpha", "beta", "poller", "consumer", "worker", "web"]
    ran.clear()
    output_of("run", "worker", "--config", "orderflow.toml")
    assert ran == ["alpha", "beta", "worker"]


def test_run_refuses_secrets_that_everybody_can_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the doctor named them."""
    from consumer import service

    monkeypatch.setattr(service, "run", lambda build: None)
    settings = config.load(Path("orderflow.toml"))
    files = secret_files(settings)
    assert len(files) >= 4
    for key, path in files.items():
        path.write_text("a secret")
        path.chmod(0o640)
        output_of("run", "--config", "orderflow.toml")
        for mode in (0o604, 0o602):
            path.chmod(mode)
            said = error_of("run", "--config", "orderflow.toml")
            assert f"{key}: everybody can read or change {path};" in said
            assert said.endswith(f"; chmod o-rwx {path}\n")
        path.chmod(0o600)


def test_sqlite_refuses_a_role_alone(desk: Desk) -> None:
    assert "SQLite serves one process with every role" in error_of("run", "poller", "--config", "orderflow.toml")


def test_the_diagram_is_that_of_the_state_machine() -> None:
    assert output_of("diagram") == diagram.mermaid() + "\n"
    assert output_of("diagram", "--overview") == diagram.overview() + "\n"
    assert output_of("diagram", "--table") == diagram.markdown() + "\n"


def test_the_version_is_printed() -> None:
    assert output_of("version") == "0.1.0\n"
