"""`orderflow demo`: its arguments. What it does is tested in tests/consumer/demo."""

from pathlib import Path

from tests.consumer.cli.runner import error_of


def test_the_address_of_the_database_is_checked_and_not_shown(tmp_path: Path) -> None:
    error = error_of("demo", "--kafka-at", "127.0.0.1:1", "--postgres-at", "hunter2", "--folder", str(tmp_path))
    assert error.startswith("orderflow: --postgres-at: is not a database URL; examples: ")
    assert "hunter2" not in error
