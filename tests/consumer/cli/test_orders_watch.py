"""`orders list --watch` shows what changes until Ctrl-C, which is no error."""

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from adapters.errors import StoreUnavailable
from consumer.cli.app import app
from consumer.cli.opening import Environment
from consumer.cli.watching import JsonLines, Screen, watch
from tests.consumer.cli.runner import error_of
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import read, snapshot_event
from tests.support import child_signal


def watched(desk: Desk, *options: str, between: list[Callable[[], object]]) -> Result:
    """What the command prints if this happens after each look, and then Ctrl-C."""
    happens = iter(between)

    def wait(_seconds: float) -> None:
        act = next(happens, None)
        if act is None:
            raise KeyboardInterrupt
        act()

    environment = Environment(desk.clock, "ops", wait=wait)
    return CliRunner().invoke(app, ["orders", "list", "--watch", *options], obj=environment, catch_exceptions=False)


def shows(desk: Desk, order_id: str, state: str, seconds: float) -> None:
    snapshot = read(state, updated=seconds, began=seconds)
    desk.orders.apply([replace(snapshot_event(snapshot), order_id=order_id, event_id=f"{order_id}{seconds}")])


def lines(result: Result) -> list[tuple[str, str, str]]:
    assert result.exit_code == 0, result.output
    return [(one["change"], one["order_id"], one["state"]) for one in map(json.loads, result.stdout.splitlines())]


def test_with_json_each_change_is_a_line(desk: Desk) -> None:
    shows(desk, "O-1", "WAITING_ACCEPTANCE", 43_200)
    result = watched(
        desk,
        "--attention",
        "--json",
        between=[
            lambda: None,
            lambda: shows(desk, "O-2", "WAITING_ACCEPTANCE", 43_201),
            lambda: shows(desk, "O-1", "CANCELED", 43_202),
        ],
    )
    assert lines(result) == [
        ("listed", "O-1", "waiting_acceptance"),
        ("listed", "O-2", "waiting_acceptance"),
        ("unlisted", "O-1", "waiting_acceptance"),
    ]


def test_with_json_an_order_whose_state_changes_is_a_line(desk: Desk) -> None:
    shows(desk, "O-1", "WAITING_ACCEPTANCE", 43_200)
    result = watched(desk, "--json", between=[lambda: shows(desk, "O-1", "CANCELED", 43_201)])
    assert lines(result) == [("listed", "O-1", "waiting_acceptance"), ("changed", "O-1", "canceled")]


def test_a_store_that_does_not_answer_for_a_while_ends_no_watch(capsys: pytest.CaptureFixture[str]) -> None:
    looks: Iterator[str] = iter(["new", "", "shipped"])

    def look() -> list[dict[str, str]]:
        state = next(looks, None)
        if state is None:
            raise KeyboardInterrupt
        if not state:
            raise StoreUnavailable("the connection is lost")
        return [{"order_id": "O-1", "state": state}]

    watch(look, JsonLines(["order_id"]), wait=lambda _seconds: None)
    out, err = capsys.readouterr()
    assert [json.loads(line)["change"] for line in out.splitlines()] == ["listed", "changed"]
    assert err == "orderflow: not read: the connection is lost; trying again\n"


@pytest.mark.parametrize("options", [(), ("--json", "--count"), ("--json", "--after", "2026-03-01/1")])
def test_what_cannot_be_watched_is_refused(desk: Desk, options: tuple[str, ...]) -> None:
    assert "--watch" in error_of("orders", "list", "--watch", *options)


# -- On a terminal -----------------------------------------------------------------------------------------------


def test_a_look_is_written_over_the_one_before_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """So no moment shows an empty screen, and nothing of a longer look stays."""
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((40, 5)))
    out = io.StringIO()
    with Screen(lambda: "title", out) as screen:
        screen.show([{"order_id": f"O-{n}"} for n in range(9)])
        before = len(out.getvalue())
        screen.show([{"order_id": "O-1"}])
        assert out.getvalue()[before:] == "\x1b[Htitle\x1b[K\r\norder_id\x1b[K\r\nO-1\x1b[K\r\n\x1b[J"
    first = out.getvalue()[:before]
    assert first.count("\r\n") == 4
    assert "... 8 lines more" in first
    assert "\x1b[2J" not in out.getvalue()
    assert out.getvalue().endswith("\x1b[?25h\x1b[?1049ltitle\norder_id\nO-1\n")


def test_ctrl_c_ends_the_watch_with_exit_code_0_and_leaves_the_last_look(desk: Desk, tmp_path: Path) -> None:
    shows(desk, "O-1", "WAITING_ACCEPTANCE", 43_200)
    ours, theirs = pty.openpty()
    command = [str(Path(sys.executable).with_name("orderflow")), "orders", "list", "--attention", "--watch"]
    with child_signal(signal.SIGINT, signal.SIG_DFL):
        process = subprocess.Popen(command, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown, is_stopped = b"", False
    try:
        while select.select([ours], [], [], 120)[0]:  # the list is read every 2 s
            shown += os.read(ours, 65_536)
            if b"needs_decision" in shown and not is_stopped:
                is_stopped = True
                process.send_signal(signal.SIGINT)
    except OSError:  # Linux: the other side is closed
        pass
    try:
        assert process.wait(30) == 0
    finally:
        process.kill()
    last = shown.decode().partition("\x1b[?1049l")[2]
    assert re.search(r"alpha\s+O-1\s+waiting_acceptance", last)
