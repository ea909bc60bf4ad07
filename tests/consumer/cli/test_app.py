"""What holds for every command: errors, help, exit codes, and what reaches a terminal."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer.main

from adapters.errors import StoreUnavailable
from adapters.store import orders as order_rows
from consumer.cli.app import app
from consumer.cli.output import BAD_ANSWER, BAD_USE, print_rows
from tests.consumer.cli.runner import (
    FILE,
    add_dead_letter,
    answer,
    call,
    complaint,
    good,
)
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import sent

READING = [
    ("orders", "list"),
    ("orders", "show", "O-1"),
    ("orders", "explain", "O-1"),
    ("orders", "verify", "O-1"),
    ("shops", "list"),
    ("dead-letters", "list"),
    ("dead-letters", "show", "1"),
    ("offsets", "list"),
]


@pytest.mark.parametrize("command", [*READING, ("config", "show"), ("migrate",), ("run",)], ids=" ".join)
def test_without_a_file_every_command_says_so(command: tuple[str, ...]) -> None:
    assert complaint(*command) == ("orderflow: orderflow.toml: there is no such file; `orderflow init` writes one\n")


def test_each_error_of_the_file_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "orderflow.toml").write_text(FILE.replace("hostname", "host"), encoding="utf-8")
    lines = complaint("orders", "list").splitlines()
    assert len(lines) == 2
    assert all(line.startswith("orderflow: orderflow.toml: shops.") for line in lines)


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_question_makes_no_store(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "orderflow.toml").write_text(FILE, encoding="utf-8")
    assert "there is no store yet; run `orderflow migrate --config orderflow.toml`" in complaint(*command)
    assert not (tmp_path / "orderflow.db").exists()


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_question_migrates_nothing(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "orderflow.toml").write_text(FILE, encoding="utf-8")
    (tmp_path / "orderflow.db").touch()
    assert "run `orderflow migrate" in complaint(*command)
    good("migrate")
    assert call(*command).exit_code in (0, BAD_ANSWER)


@pytest.mark.parametrize(
    "command",
    [
        ("orders", "verify"),
        ("orders", "verify", "O-1", "--all"),
        ("orders", "list", "--limit", "0"),
        ("orders", "accept", "O-1", "--yes"),
        ("shops", "pause", "alpha", "--reason", "x", "--only", "everything"),
        ("diagram", "--overview", "--table"),
        ("orders", "hold", "O-1", "--reason", "\udcff", "--yes"),
    ],
    ids=ascii,
)
def test_wrong_use_is_told(desk: Desk, command: tuple[str, ...]) -> None:
    assert "Usage:" in complaint(*command)


def test_a_store_that_does_not_answer_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise StoreUnavailable("OperationalError")

    monkeypatch.setattr(order_rows, "latest", broken)
    assert complaint("orders", "list") == (
        "orderflow: the store does not answer (OperationalError): see store.url in the configuration\n"
    )


def test_the_embedded_log_is_nothing_for_postgresql(tmp_path: Path) -> None:
    (tmp_path / "orderflow.toml").write_text(FILE.replace("sqlite:///orderflow.db", "postgresql+psycopg://h/db"))
    assert 'log.kind: "embedded" is for one process on SQLite' in complaint("orders", "list")


def test_an_empty_list_is_an_empty_array(desk: Desk) -> None:
    assert answer("orders", "list") == answer("dead-letters", "list") == []
    assert good("orders", "list") == ""


def test_bytes_that_are_no_text_are_shown_as_they_are(desk: Desk) -> None:
    add_dead_letter(desk, b"\xff\x00\x1b[2J")
    result = call("dead-letters", "show", "1")
    assert b"\xff\x00\x1b[2J" in result.stdout_bytes
    assert answer("dead-letters", "show", "1")["value"] == "\\xff\x00\x1b[2J"


def test_control_characters_of_a_remote_reach_no_terminal(desk: Desk) -> None:
    desk.apply(replace(sent(), note={"status": 8, "status_name": "\x1b[2Jgone\n"}))
    assert "\x1b" not in good("orders", "show", "O-1")
    assert "status 8 \ufffd[2Jgone" in good("orders", "show", "O-1")


def test_a_terminal_gets_a_table_with_nothing_cut(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_rows([{"name": "[bold]x" * 10, "note": "y" * 100}])
    told = "".join(capsys.readouterr().out.split())
    assert told.count("x") == 10
    assert told.count("y") == 100


def _commands(command: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    inner = getattr(command, "commands", None)
    return [path] if inner is None else [one for name, sub in inner.items() for one in _commands(sub, (*path, name))]


COMMANDS = _commands(typer.main.get_command(app))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_an_example(command: tuple[str, ...]) -> None:
    text = good(*command, "--help")
    assert "Example" in text
    assert f"orderflow {' '.join(command)}" in text.split("Example", 1)[1]


def test_the_help_tells_examples_and_exit_codes() -> None:
    text = good("--help")
    assert "orderflow orders explain ORDER" in text
    assert "Exit codes:" in text


def test_the_commands_of_the_contract_are_there() -> None:
    acts = [("orders", act) for act in ("accept", "refuse", "hold", "settle", "retry")]
    rest = [
        ("run",),
        ("init",),
        ("diagram",),
        ("version",),
        ("config", "schema"),
        ("shops", "pause"),
        ("shops", "resume"),
    ]
    assert {*acts, *rest, *(command[:2] for command in READING)} <= {*COMMANDS}


def test_the_command_ends_without_a_traceback(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("orderflow")), "orders", "list"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (BAD_USE, "")
    assert done.stderr.startswith("orderflow: orderflow.toml: there is no such file")
