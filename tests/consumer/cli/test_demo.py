"""`orderflow demo`: its arguments. What it does is tested in tests/consumer/demo."""

from pathlib import Path

from tests.consumer.cli.runner import complaint


def test_the_demo_s_database_has_to_have_an_address(tmp_path: Path) -> None:
    said = complaint("demo", "--kafka-at", "127.0.0.1:1", "--postgres-at", "hunter2", "--folder", str(tmp_path))
    assert said.startswith("orderflow: --postgres-at: is not a database URL; examples: ")
    assert "hunter2" not in said
