"""`orderflow run`, `init`, `migrate`, `diagram` and `version`."""

from pathlib import Path

import pytest

from adapters.errors import StoreUnavailable
from adapters.store.transaction import Store
from consumer import config
from consumer.cli.output import BAD_ANSWER
from consumer.cli.service import in_time
from statemachine import diagram
from tests.consumer.cli.runner import (
    FILE,
    complaint,
    good,
)
from tests.consumer.operations.desk import Desk
from tests.engines import store_lines
from tests.support import StillClock


def test_init_writes_the_example_and_overwrites_nothing(tmp_path: Path) -> None:
    good("init")
    assert (tmp_path / "orderflow.toml").read_text(encoding="utf-8") == config.example()
    assert complaint("init") == "orderflow: orderflow.toml exists already\n"
    assert "cannot be written" in complaint("init", "--path", "none/orderflow.toml")


def test_migrate_makes_the_schema_and_may_be_repeated(tmp_path: Path) -> None:
    good("init")
    for _ in range(2):
        good("migrate", "--config", "orderflow.toml")
    store = Store(f"sqlite:///{tmp_path}/orderflow.db")
    assert store.schema_is_current()
    store.close()


def test_migrate_check_changes_nothing_and_tells_by_its_exit_code(tmp_path: Path, postgres_url: str) -> None:
    good("init")
    assert "run `orderflow migrate --config" in complaint("migrate", "--check", code=BAD_ANSWER)
    assert not (tmp_path / "orderflow.db").exists()
    good("migrate")
    assert good("migrate", "--check") == "The store's schema is this version's.\n"
    many = (
        FILE.replace('url = "sqlite:///orderflow.db"\n', store_lines(tmp_path, postgres_url))
        + '[log]\nkind = "kafka"\n'
    )
    (tmp_path / "many.toml").write_text(many)
    assert "run `orderflow migrate" in complaint("migrate", "--check", "--config", "many.toml", code=BAD_ANSWER)
    assert "run `orderflow migrate --config many.toml`" in complaint("orders", "list", "--config", "many.toml")
    good("migrate", "--config", "many.toml")
    good("migrate", "--check", "--config", "many.toml")


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
def test_what_is_waited_for_is_asked_once_a_look(wait: float, answers: list[bool | None]) -> None:
    """A migration ran twice: once more to say that it had. Each look takes a minute here; None: no answer."""
    asked: list[bool | None] = []
    clock = StillClock()

    def holds() -> bool:
        asked.append(answers[len(asked)])
        clock.advance(60)
        if asked[-1] is None:
            raise StoreUnavailable("away")
        return asked[-1]

    if answers[-1] is None:
        with pytest.raises(StoreUnavailable):
            in_time(wait, holds, clock)
    else:
        assert in_time(wait, holds, clock) is answers[-1]
    assert asked == answers


def test_a_database_that_is_away_is_told_and_no_wait_is_endless(tmp_path: Path) -> None:
    away = FILE.replace("sqlite:///orderflow.db", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    (tmp_path / "away.toml").write_text(away + '[log]\nkind = "kafka"\n')
    assert "the store does not answer" in complaint("migrate", "--check", "--config", "away.toml")


def test_run_hands_the_settings_to_the_service(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from consumer import bootstrap, service

    ran: list[str] = []

    monkeypatch.setattr(service, "run", lambda build: build())
    monkeypatch.setattr(bootstrap, "build", lambda settings, roles: ran.extend((*settings.shops, *roles)))
    good("run", "all", "--config", "orderflow.toml")
    assert ran == ["alpha", "beta", "poller", "consumer", "worker", "web"]
    ran.clear()
    good("run", "worker", "--config", "orderflow.toml")
    assert ran == ["alpha", "beta", "worker"]


def test_one_role_alone_is_nothing_for_sqlite(desk: Desk) -> None:
    assert "SQLite serves one process with every role" in complaint("run", "poller", "--config", "orderflow.toml")


def test_the_diagram_is_that_of_the_machine() -> None:
    assert good("diagram") == diagram.mermaid() + "\n"
    assert good("diagram", "--overview") == diagram.overview() + "\n"
    assert good("diagram", "--table") == diagram.markdown() + "\n"


def test_the_version_is_printed() -> None:
    assert good("version") == "0.1.0\n"
