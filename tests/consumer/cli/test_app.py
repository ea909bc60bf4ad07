"""What holds for every command: errors, help, exit codes, and what reaches a terminal."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer.main

from consumer.cli import app as app_module
from consumer.cli.app import app
from consumer.cli.output import BAD_ANSWER, BAD_USE, print_rows
from tests.consumer.cli.runner import (
    FILE,
    add_dead_letter,
    error_of,
    json_of,
    output_of,
    run,
)
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import sent

#: Commands that only look.
READING = [
    ("orders", "list"),
    ("orders", "show", "O-1"),
    ("orders", "explain", "O-1"),
    ("orders", "verify", "O-1"),
    ("shops", "list"),
    ("dead-letters", "list"),
    ("dead-letters", "show", "1"),
    ("offsets", "list"),
    ("status",),
]


@pytest.mark.parametrize("command", [*READING, ("config", "show"), ("migrate",), ("run",)], ids=" ".join)
def test_every_command_names_a_missing_configuration(command: tuple[str, ...]) -> None:
    assert error_of(*command) == "orderflow: orderflow.toml: there is no such file; `orderflow init` writes one\n"


def test_each_error_of_the_configuration_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "orderflow.toml").write_text(FILE.replace("hostname", "host"), encoding="utf-8")
    lines = error_of("orders", "list").splitlines()
    assert len(lines) == 2
    assert all(line.startswith("orderflow: orderflow.toml: shops.") for line in lines)


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_reading_command_creates_no_store(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "orderflow.toml").write_text(FILE, encoding="utf-8")
    assert "there is no store yet; run `orderflow migrate --config orderflow.toml`" in error_of(*command)
    assert not (tmp_path / "orderflow.db").exists()


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_reading_command_migrates_nothing(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "orderflow.toml").write_text(FILE, encoding="utf-8")
    (tmp_path / "orderflow.db").touch()
    assert "run `orderflow migrate" in error_of(*command)
    output_of("migrate")
    assert run(*command).exit_code in (0, BAD_ANSWER)


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
def test_wrong_use_ends_with_the_usage(desk: Desk, command: tuple[str, ...]) -> None:
    assert "Usage:" in error_of(*command)


@pytest.mark.parametrize("command", [("orders", "list"), ("migrate", "--check")], ids=" ".join)
def test_an_unreachable_database_is_an_error_with_a_hint(tmp_path: Path, command: tuple[str, ...]) -> None:
    unreachable = FILE.replace("sqlite:///orderflow.db", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    (tmp_path / "orderflow.toml").write_text(unreachable + '[log]\nkind = "kafka"\n')
    assert error_of(*command) == (
        "orderflow: the store does not answer (OperationalError): see store.url in the configuration\n"
    )


def test_postgresql_with_the_embedded_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "orderflow.toml").write_text(FILE.replace("sqlite:///orderflow.db", "postgresql+psycopg://h/db"))
    assert 'log.kind: "embedded" is for one process on SQLite' in error_of("orders", "list")


def test_an_empty_list_is_an_empty_array(desk: Desk) -> None:
    assert json_of("orders", "list") == []
    assert json_of("dead-letters", "list") == []
    assert output_of("orders", "list") == ""


def test_bytes_of_a_remote_are_escaped_also_in_a_pipe_and_raw_gives_them_as_they_are(desk: Desk) -> None:
    add_dead_letter(desk, b"\xff\x00\x1b[2J")
    assert r"\xff\x00\x1b[2J" in output_of("dead-letters", "show", "1")
    assert run("dead-letters", "show", "1", "--raw").stdout_bytes == b"\xff\x00\x1b[2J"
    assert json_of("dead-letters", "show", "1")["value"] == "\\xff\x00\x1b[2J"


def test_control_characters_and_marks_of_direction_are_escaped(desk: Desk) -> None:
    desk.apply(replace(sent(), note={"status": 8, "status_name": "\x1b[2Jgone\n\u202ered"}))
    shown = output_of("orders", "show", "O-1")
    assert not {"\x1b", "\u202e"} & set(shown)
    assert r"status 8 \x1b[2Jgone\n\u202ered" in shown


def test_only_the_user_may_read_what_a_command_writes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os; os.umask(0o022); from consumer.cli.app import main; main()"]
    subprocess.run([*command, "init"], check=True, capture_output=True)
    (tmp_path / "orderflow.toml").write_text(FILE, encoding="utf-8")
    subprocess.run([*command, "migrate"], check=True, capture_output=True)
    modes = {one.name: one.stat().st_mode & 0o777 for one in tmp_path.iterdir()}
    assert modes == {"orderflow.toml": 0o600, "orderflow.db": 0o600}


def test_a_terminal_gets_a_table_in_which_nothing_is_cut(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_rows([{"name": "[bold]x" * 10, "note": "y" * 100}])
    printed = "".join(capsys.readouterr().out.split())
    assert printed.count("x") == 10
    assert printed.count("y") == 100


def _commands(command: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    inner = getattr(command, "commands", None)
    return [path] if inner is None else [one for name, sub in inner.items() for one in _commands(sub, (*path, name))]


COMMANDS = _commands(typer.main.get_command(app))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_an_example(command: tuple[str, ...]) -> None:
    text = output_of(*command, "--help")
    assert "Example" in text
    assert f"orderflow {' '.join(command)}" in text.split("Example", 1)[1]


def imported_by(*arguments: str) -> set[str]:
    """The top-level modules that a process of the command imports."""
    program = (
        "import sys; from consumer.cli.app import app\n"
        "try: app(sys.argv[1:])\n"
        "finally: print(*sys.modules, file=sys.stderr)\n"
    )
    result = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    names = result.stderr.splitlines()[-1].split()
    return {name.partition(".")[0] for name in names} | set(names)


HEAVY = {"httpx", "kafka", "sqlalchemy", "pydantic", "structlog", "rich", "alembic", "psycopg", "starlette"}


@pytest.mark.parametrize("arguments", [("--help",), ("--version",)])
def test_help_and_version_import_no_heavy_library(arguments: tuple[str, ...]) -> None:
    assert imported_by(*arguments) & HEAVY == set()


@pytest.mark.parametrize("arguments", [("orders", "list"), ("orders", "show", "O-1")])
def test_a_look_into_the_store_imports_neither_the_service_nor_its_clients(
    desk: Desk, arguments: tuple[str, ...]
) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    found = imported_by(*arguments)
    assert "sqlalchemy" in found
    assert found & {"httpx", "kafka", "alembic", "psycopg", "starlette", "prometheus_client"} == set()


def test_the_list_of_orders_imports_nothing_that_writes_or_logs(desk: Desk) -> None:
    """Half of its CPU time was the import of what other commands of the group need."""
    desk.shows("WAITING_ACCEPTANCE")
    found = imported_by("orders", "list")
    assert "consumer.operations.listing" in found
    others = {
        "consumer.applying.apply",
        "consumer.cli.orders",
        "consumer.operations.explain",
        "adapters.messages.transitions",
    }
    assert found & {"structlog", "rich", "sqlalchemy.dialects.postgresql", *others} == set()


def test_what_a_command_imports_is_never_searched_for_garbage(desk: Desk) -> None:
    """To search it while it is imported, and once more at the end, took a third of the CPU time of a short command."""
    desk.shows("WAITING_ACCEPTANCE")
    program = (
        "import gc, sys; from consumer.cli.app import main; sys.argv = ['orderflow', 'orders', 'list']\n"
        "try: main()\n"
        "finally: print(gc.get_freeze_count(), gc.get_stats()[2]['collections'], file=sys.stderr)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    spared, whole_searches = map(int, result.stderr.splitlines()[-1].split())
    assert spared > 50_000
    assert whole_searches == 0


@pytest.mark.parametrize("words", app_module.ONLY_READ, ids=" ".join)
def test_a_command_that_is_loaded_alone_is_that_of_its_group(words: tuple[str, ...]) -> None:
    module = app_module.ONLY_READ[words]
    group = typer.main.get_command(app).get_command(None, words[0])  # type: ignore[attr-defined]
    assert group.commands[words[1]].callback.__wrapped__.__module__ == f"consumer.cli.{module}"


@pytest.mark.parametrize("name", app_module.COMMANDS)
def test_the_help_of_all_commands_has_the_first_sentence_of_each(name: str) -> None:
    first = re.split(r"(?<=[.])\s", output_of(name, "--help").partition("\n\n")[2].partition("\n\n")[0] + " ")[0]
    assert " ".join(first.split()) == app_module.COMMANDS[name][1]


def test_the_configuration_may_be_named_by_a_variable(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "orderflow.toml").rename(tmp_path / "shop.toml")
    monkeypatch.setenv("ORDERFLOW_CONFIG", "shop.toml")
    assert json_of("orders", "list") == []


@pytest.mark.parametrize("command", [("-h",), ("orders", "-h"), ("orders", "list", "-h")], ids=" ".join)
def test_help_has_a_short_form(command: tuple[str, ...]) -> None:
    assert output_of(*command) == output_of(*command[:-1], "--help")


def test_the_help_has_examples_and_exit_codes() -> None:
    text = output_of("--help")
    assert "orderflow orders explain ORDER" in text
    assert "Exit codes:" in text


def test_the_commands_of_the_contract_are_there() -> None:
    decisions = [("orders", kind) for kind in ("accept", "refuse", "hold", "release", "settle", "retry")]
    rest = [
        ("run",),
        ("init",),
        ("diagram",),
        ("version",),
        ("config", "schema"),
        ("shops", "pause"),
        ("shops", "resume"),
    ]
    assert {*decisions, *rest, *(command[:2] for command in READING)} <= {*COMMANDS}


def test_the_executable_ends_without_a_traceback(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("orderflow")), "orders", "list"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == BAD_USE
    assert done.stdout == ""
    assert done.stderr.startswith("orderflow: orderflow.toml: there is no such file")
