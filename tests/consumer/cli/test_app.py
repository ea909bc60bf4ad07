"""The command line as people and scripts use it: what is wrong and its exit code first, then every command."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import typer.main
from typer.testing import CliRunner, Result

from adapters.errors import Rejected, StoreUnavailable
from adapters.log.embedded import EmbeddedLog
from adapters.messages.oms_events import decode_oms
from adapters.ports import Partition
from adapters.store import cursors as cursor_rows
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import journal as journal_rows
from adapters.store import leases as lease_rows
from adapters.store import orders as order_rows
from adapters.store import progress as progress_rows
from adapters.store import schema
from adapters.store import shops as shop_rows
from adapters.store.cursors import Cursor
from adapters.store.dead_letters import DeadLetter
from adapters.store.progress import Progress
from adapters.store.transaction import Store
from consumer import config
from consumer.apply import OrderWriter
from consumer.cli.app import app
from consumer.cli.opening import Environment
from consumer.cli.output import BAD_ANSWER, BAD_USE, print_rows
from consumer.cli.service import in_time
from consumer.loop import Consumer
from statemachine import diagram
from statemachine.events import Event
from statemachine.facts import RESTORED
from statemachine.states import State
from tests.consumer.operations.desk import Desk
from tests.engines import store_lines
from tests.statemachine.lives import read, sent, snapshot_event
from tests.support import StillClock

FILE = """\
[store]
url = "sqlite:///orderflow.db"
[shops.alpha]
hostname = "alpha.mirakl.net"
shop_id = 2104
api_key_file = "alpha.key"
acceptance = "hold"
[shops.alpha.oms]
company_ref_id = 1
api_key_file = "oms.key"
[shops.beta]
hostname = "beta.mirakl.net"
shop_id = 7
api_key_file = "beta.key"
effects = "off"
[shops.beta.oms]
company_ref_id = 2
api_key_file = "oms.key"
"""
RECEIVED = b'{"order_id": "O-1", "customer": "Erika \xc3\x9cber", "price": 1.10}'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """The file of both shops, and a store in which both are known, without an order."""
    (tmp_path / "orderflow.toml").write_text(FILE, encoding="utf-8")
    desk = Desk(tmp_path)
    desk.policies.update(config.policies(config.load(tmp_path / "orderflow.toml")))
    with desk.store.transaction() as tx:
        shop_rows.bind(tx, "beta", "https://beta.mirakl.net", 7, effects=False, now=desk.clock.now())
    return desk


def call(*arguments: str, answers: str | None = None) -> Result:
    environment = Environment(StillClock(), "ops")
    return CliRunner().invoke(app, arguments, input=answers, catch_exceptions=False, obj=environment)


def good(*arguments: str, answers: str | None = None) -> str:
    result = call(*arguments, answers=answers)
    assert result.exit_code == 0, result.output
    return result.stdout


def answer(*arguments: str) -> Any:
    return json.loads(good(*arguments, "--json"))


def complaint(*arguments: str, code: int = BAD_USE, answers: str | None = None) -> str:
    result = call(*arguments, answers=answers)
    assert (result.exit_code, result.stdout) == (code, "")
    return result.stderr


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

# -- What is wrong -----------------------------------------------------------------------------------------------


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
        ("orders", "show", "O-9"),
        ("orders", "explain", "O-9"),
        ("orders", "verify", "O-9"),
        ("orders", "hold", "O-9", "--reason", "x", "--yes"),
    ],
    ids=" ".join,
)
def test_an_unknown_order_is_a_bad_answer(desk: Desk, command: tuple[str, ...]) -> None:
    assert complaint(*command, code=BAD_ANSWER) == "orderflow: there is no order O-9\n"
    assert "O-9 of shop beta" in complaint(*command, "--shop", "beta", code=BAD_ANSWER)


@pytest.mark.parametrize("command", ["show", "explain", "verify"])
def test_an_order_of_two_shops_needs_its_shop(desk: Desk, command: str) -> None:
    desk.shows("SHIPPED")
    OrderWriter(desk.store, {}, desk.clock).apply([_of_beta()])
    assert complaint("orders", command, "O-1") == "orderflow: O-1 is an order of alpha and beta: say --shop\n"
    assert good("orders", command, "O-1", "--shop", "beta")


def _of_beta() -> Event:
    return replace(snapshot_event(read("SHIPPED")), shop="beta", event_id="of beta")


def test_an_unknown_state_names_the_known_ones(desk: Desk) -> None:
    said = " ".join(complaint("orders", "list", "--state", "lost").split())
    assert "lost is no state" in said
    assert "waiting_acceptance" in said


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


def test_an_act_that_makes_no_sense_is_told(desk: Desk) -> None:
    desk.shows("CANCELED")
    said = complaint("orders", "hold", "O-1", "--reason", "x", "--yes", code=BAD_ANSWER)
    assert said == "orderflow: alpha O-1 is canceled, which is final\n"


def test_a_no_changes_nothing(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    result = call("orders", "accept", "O-1", "--reason", "x", answers="n\n")
    assert (result.exit_code, result.stdout.strip()) == (BAD_ANSWER, "n")  # the answer, as a terminal shows it
    assert "accept alpha O-1, which is waiting_acceptance?" in result.stderr
    assert call("orders", "accept", "O-1", "--reason", "x").exit_code == BAD_ANSWER  # nobody there to ask
    assert desk.row.version == 1


def test_a_store_that_does_not_answer_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise StoreUnavailable("OperationalError")

    monkeypatch.setattr(order_rows, "latest", broken)
    assert complaint("orders", "list") == (
        "orderflow: the store does not answer (OperationalError): see store.url in the configuration\n"
    )


# -- Looking -----------------------------------------------------------------------------------------------------


def test_orders_are_listed_for_people_and_scripts(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    assert answer("orders", "list") == [
        {
            "shop": "alpha",
            "order_id": "O-1",
            "state": "waiting_acceptance",
            "attention": ["needs_decision"],
            "entered_at": "2026-03-01T12:00:00+00:00",
            "updated_at": "2026-03-01T12:00:00+00:00",
        }
    ]
    assert [line.split() for line in good("orders", "list").splitlines()] == [
        ["shop", "order_id", "state", "attention", "entered_at", "updated_at"],
        ["alpha", "O-1", "waiting_acceptance", "needs_decision", "2026-03-01", "12:00:00", "2026-03-01", "12:00:00"],
    ]


def test_orders_are_listed_by_shop_state_and_attention(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    OrderWriter(desk.store, {}, desk.clock).apply([_of_beta()])
    listed = [
        [row["shop"] for row in answer("orders", "list", *filters)]
        for filters in (
            (),
            ("--shop", "beta"),
            ("--state", "shipped", "--state", "waiting_acceptance"),
            ("--state", "canceled"),
            ("--attention",),
        )
    ]
    assert listed == [["alpha", "beta"], ["beta"], ["alpha", "beta"], [], ["alpha"]]


def test_a_list_that_is_cut_says_so(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    OrderWriter(desk.store, {}, desk.clock).apply([_of_beta()])
    result = call("orders", "list", "--limit", "1", "--json")
    assert len(json.loads(result.stdout)) == 1
    assert result.stderr == "orderflow: there are more than 1; --limit shows more\n"


def test_an_empty_list_is_an_empty_array(desk: Desk) -> None:
    assert answer("orders", "list") == answer("dead-letters", "list") == []
    assert good("orders", "list") == ""


def _refused(desk: Desk) -> None:
    """An order whose acceptance Mirakl refused with words about its customer."""
    shown = snapshot_event(read("WAITING_ACCEPTANCE"))
    desk.apply(replace(shown, raw=RECEIVED, digest=read("WAITING_ACCEPTANCE").digest))
    good("orders", "accept", "O-1", "--reason", "fine", "--yes")
    desk.work(Rejected("OR21", "400", status=400, code="BAD", words="Erika is unknown"))


def test_an_order_is_shown_without_personal_data(desk: Desk) -> None:
    _refused(desk)
    for text in (good("orders", "show", "O-1"), json.dumps(answer("orders", "show", "O-1"))):
        assert "accept_order" in text
        assert "BAD" in text
        assert "ops: accept (fine)" in text
        assert "Erika" not in text


def test_an_order_is_shown_as_received_when_asked_for(desk: Desk) -> None:
    _refused(desk)
    result = call("orders", "show", "O-1", "--received")
    assert RECEIVED in result.stdout_bytes
    assert "Erika is unknown" in result.stdout
    found = answer("orders", "show", "O-1", "--received")
    assert found["received"] == RECEIVED.decode()
    assert found["words"] == [{"command": "accept_order", "round": 0, "words": "Erika is unknown"}]


def test_the_json_of_an_order_holds_all_that_is_known(desk: Desk) -> None:
    _refused(desk)
    found = answer("orders", "show", "O-1")
    assert found["facts"]["snapshot"]["state"] == "WAITING_ACCEPTANCE"
    assert [(one["kind"], one["state"]) for one in found["commands"]] == [("accept_order", "rejected")]
    assert [one["kind"] for one in found["timeline"]] == ["snapshot", "act", "call", "call"]
    assert "received" not in found


def test_an_order_is_explained(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    text = good("orders", "explain", "O-1")
    assert "why here" in text
    assert "a person: accept or refuse it" in text
    assert "orders accept ORDER" in text
    found = answer("orders", "explain", "O-1")
    assert found["state"] == "waiting_acceptance"
    assert found["attention"][0]["reason"] == "needs_decision"


def test_verify_is_quiet_where_all_is_well(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    assert good("orders", "verify", "--all", "--redecide") == "1 verified, 0 differ\n"
    assert answer("orders", "verify", "O-1") == [{"shop": "alpha", "order_id": "O-1", "ok": True, "differences": []}]


def test_verify_finds_a_row_that_is_not_its_journal(desk: Desk) -> None:
    row = desk.shows("WAITING_ACCEPTANCE")
    with desk.store.transaction() as tx:
        order_rows.save(tx, [(replace(row, state=State.SHIPPED), row.version)])
    result = call("orders", "verify", "--all")
    assert result.exit_code == BAD_ANSWER
    assert "alpha O-1: state: stored shipped, the journal's last is waiting_acceptance" in result.stdout
    assert json.loads(call("orders", "verify", "O-1", "--json").stdout)[0]["ok"] is False


def test_shops_are_listed_with_their_switches(desk: Desk) -> None:
    found = answer("shops", "list")
    assert [(shop["name"], shop["effects"], shop["paused"]) for shop in found] == [
        ("alpha", True, []),
        ("beta", False, []),
    ]
    assert "https://beta.mirakl.net" in good("shops", "list")


def _letter(desk: Desk, value: bytes) -> None:
    letter = DeadLetter("oms.order-events", "oms.order-events/0/3", "bad_json", "", "digest", b"alpha:O-1", value)
    with desk.store.transaction() as tx:
        dead_letter_rows.add(tx, [letter], desk.clock.now())


def test_dead_letters_are_listed_without_their_content_and_shown_with_it(desk: Desk) -> None:
    _letter(desk, b'{"name": "Erika"')
    listed = answer("dead-letters", "list")
    assert [(one["id"], one["reason"], one["times"]) for one in listed] == [(1, "bad_json", 1)]
    assert "Erika" not in json.dumps(listed) + good("dead-letters", "list")
    assert answer("dead-letters", "show", "1")["value"] == '{"name": "Erika"'
    assert good("dead-letters", "show", "1").endswith('\n{"name": "Erika"\n')
    assert complaint("dead-letters", "show", "2", code=BAD_ANSWER) == "orderflow: there is no dead letter 2\n"


def test_bytes_that_are_no_text_are_shown_as_they_are(desk: Desk) -> None:
    _letter(desk, b"\xff\x00\x1b[2J")
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


# -- Deciding ----------------------------------------------------------------------------------------------------


def test_a_decision_is_kept_with_who_and_why(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    said = good("orders", "accept", "O-1", "--reason", "customer called", answers="y\n")
    assert "a worker: accept_order is due" in said
    assert [(made.kind, made.who, made.why) for made in desk.row.facts.decisions] == [
        ("accept", "ops", "customer called")
    ]


def test_who_may_be_said(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    good("orders", "refuse", "O-1", "--reason", "sold out", "--yes", "--who", "ana")
    assert desk.row.facts.decisions[0].who == "ana"


def test_an_order_is_held_settled_and_retried(desk: Desk) -> None:
    desk.shows("SHIPPING")
    assert "a person holds this order" in good("orders", "hold", "O-1", "--reason", "x", "--yes")
    assert "import_order is due" in good("orders", "settle", "O-1", "--reason", "x", "--yes")
    desk.work()  # cannot be imported: its bytes were not stored
    assert "import_order is due" in good("orders", "retry", "O-1", "--reason", "x", "--yes")


def test_a_shop_is_paused_and_resumed(desk: Desk) -> None:
    assert "import" in good("shops", "pause", "alpha", "--only", "import", "--reason", "x", "--yes")
    assert answer("shops", "list")[0]["paused"] == ["import"]
    good("shops", "resume", "alpha", "--reason", "x", "--yes")
    assert answer("shops", "list")[0]["paused"] == []
    said = complaint("shops", "resume", "beta", "--reason", "x", "--yes", code=BAD_ANSWER)
    assert 'shops.beta.effects is "off" in the configuration' in said
    said = complaint("shops", "pause", "gamma", "--reason", "x", "--yes", code=BAD_ANSWER)
    assert "the store knows no shop gamma" in said


# -- Events -------------------------------------------------------------------------------------------------------

EXAMPLES = Path(__file__).resolve().parents[3] / "docs/events/examples"
GOOD = EXAMPLES / "valid/oms-dispatched.json"
WARNED = EXAMPLES / "invalid/oms--warning--partitionkey.json"
WRONG = EXAMPLES / "invalid/oms--missing_field--data.status.json"


def test_events_that_cannot_be_checked(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b" \n")
    assert complaint("events", "check", "gone") == "orderflow: gone cannot be read (FileNotFoundError)\n"
    assert complaint("events", "check", str(GOOD), ".") == "orderflow: . cannot be read (IsADirectoryError)\n"
    assert complaint("events", "check", "empty") == "orderflow: empty holds no event\n"
    assert complaint("events", "check", "-", answers="") == "orderflow: - holds no event\n"
    assert "there is no such file" in complaint("events", "check", str(GOOD), "--config", "gone.toml")


def test_the_exit_code_of_checked_events() -> None:
    assert call("events", "check", str(GOOD)).exit_code == 0
    assert call("events", "check", str(GOOD), "--strict").exit_code == 0
    assert call("events", "check", str(WARNED)).exit_code == 0
    assert call("events", "check", str(WARNED), "--strict").exit_code == BAD_ANSWER
    assert call("events", "check", str(GOOD), str(WRONG)).exit_code == BAD_ANSWER


def test_checked_events() -> None:
    result = call("events", "check", str(WRONG), "-", answers=GOOD.read_text())
    assert result.stdout.splitlines() == [
        f"{WRONG} 1: wrong, oms.order-events: data.status: is missing or empty [missing_field]",
        "- 1: ok, oms.order-events: order_id LX-20417-A, shop not looked up, status 8, all_sent yes, parcels 1, "
        "tracking yes, cancellations 0",
        "checked: 2, wrong: 1, with warnings: 0",
    ]


@pytest.mark.usefixtures("desk")
def test_checked_events_by_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "orderflow.toml").write_text(FILE + '[topics]\noms_events = "parcels"\n', encoding="utf-8")
    result = call("events", "check", "--json", "--config", "orderflow.toml", str(GOOD))
    assert result.exit_code == BAD_ANSWER
    (found,) = json.loads(result.stdout)
    assert (found["file"], found["event"], found["topic"], found["ok"]) == (str(GOOD), 1, "parcels", False)
    assert found["error"]["reason"] == "unknown_company"
    (tmp_path / "orderflow.toml").write_text(FILE.replace("company_ref_id = 2", "company_ref_id = 99999"))
    assert answer("events", "check", "--config", "orderflow.toml", str(GOOD))[0]["understood"]["shop"] == "beta"


@pytest.fixture
def publishing(desk: Desk, tmp_path: Path) -> Desk:
    """The company of the examples is beta's."""
    (tmp_path / "orderflow.toml").write_text(FILE.replace("company_ref_id = 2", "company_ref_id = 99999"))
    return desk


def _published(desk: Desk, topic: str = "oms.order-events") -> list[Any]:
    c = schema.log_records.c
    with desk.store.reading() as connection:
        return list(connection.execute(sa.select(schema.log_records).where(c.topic == topic).order_by(c.offset)))


def _consume(desk: Desk) -> None:
    settings = config.load(Path("orderflow.toml"))
    ids = config.shop_ids(settings)
    log = EmbeddedLog(desk.store, desk.clock)
    consumer = Consumer(
        log.reader("orderflow", ["oms.order-events"]),
        desk.store,
        desk.orders,
        {"oms.order-events": lambda value, headers: decode_oms(value, headers, ids)},
        desk.clock,
    )
    while consumer.turn(0):
        pass


def test_one_wrong_event_keeps_a_whole_file_from_the_log(publishing: Desk, tmp_path: Path) -> None:
    (tmp_path / "events.json").write_text(f"[{GOOD.read_text()}, {WRONG.read_text()}]")
    said = complaint("events", "publish", "events.json", "--yes")
    assert said == "orderflow: event 2: missing_field; `orderflow events check` says more\n"
    said = complaint("events", "publish", str(GOOD), str(WRONG), "--yes")
    assert "event 1: missing_field" in said
    transition = EXAMPLES / "valid/transition-accepted.json"
    assert "is no event that orderflow reads" in complaint("events", "publish", str(transition), "--yes")
    assert "gone cannot be read" in complaint("events", "publish", str(GOOD), "gone", "--yes")
    (tmp_path / "tombstone").write_text("null")
    assert "event 1: " in complaint("events", "publish", "tombstone", "--yes")
    assert _published(publishing) == []


def test_an_event_of_nobodys_company_is_not_published(desk: Desk) -> None:
    assert "event 1: unknown_company" in complaint("events", "publish", str(GOOD), "--yes")
    assert _published(desk) == []


def test_a_no_publishes_nothing(publishing: Desk) -> None:
    assert "publish 1 events?" in call("events", "publish", str(GOOD), answers="n\n").stderr
    assert _published(publishing) == []


def test_published_events_are_applied_once_however_often_they_are_published(publishing: Desk) -> None:
    for _ in range(2):
        assert good("events", "publish", str(GOOD), "--yes") == "published: 1\n"
        _consume(publishing)
    assert [record.record_key for record in _published(publishing)] == [b"99999:LX-20417-A"] * 2
    assert json.loads(_published(publishing)[0].value) == json.loads(GOOD.read_text())
    (order,) = order_rows.find(publishing.store, "LX-20417-A")
    assert (order.shop, order.version, bool(order.facts.dispatches)) == ("beta", 1, True)
    assert [entry.repeats for entry in journal_rows.of_order(publishing.store, order.key)] == [1]


# -- The log by hand ---------------------------------------------------------------------------------------------


def test_letters_are_replayed_and_discarded_with_a_reason(publishing: Desk) -> None:
    _letter(publishing, GOOD.read_bytes())
    said = good("dead-letters", "replay", "1", "--reason", "the company is known now", "--yes")
    assert said == "1 is published to oms.order-events\n"
    assert [record.value for record in _published(publishing)] == [GOOD.read_bytes()]
    _consume(publishing)
    assert order_rows.find(publishing.store, "LX-20417-A")[0].facts.dispatches
    for command in ("replay", "discard"):
        said = complaint("dead-letters", command, "1", "--reason", "x", "--yes", code=BAD_ANSWER)
        assert said == "orderflow: dead letter 1 is replayed already\n"
    _letter(publishing, b"other")
    assert answer("dead-letters", "list")[0]["times"] == 2, "the same digest: it is the same letter"
    assert good("dead-letters", "discard", "1", "--reason", "a test", "--yes") == "1 is discarded\n"
    assert answer("dead-letters", "list")[0]["state"] == "discarded"


def test_a_letter_needs_a_reason_and_a_yes(publishing: Desk) -> None:
    _letter(publishing, GOOD.read_bytes())
    for command in ("replay", "discard"):
        assert "--reason" in complaint("dead-letters", command, "1", "--yes")
        assert "says nothing" in complaint("dead-letters", command, "1", "--reason", " ", "--yes", code=BAD_ANSWER)
        assert call("dead-letters", command, "1", "--reason", "x", answers="n\n").exit_code == BAD_ANSWER
    assert answer("dead-letters", "list")[0]["state"] == "open"
    assert _published(publishing) == []


def test_offsets_are_listed_and_a_misfit_is_a_bad_answer(publishing: Desk) -> None:
    listed = answer("offsets", "list")
    assert {(one["topic"], one["partition"]) for one in listed} == {
        (topic, n) for topic in ("mirakl.order-snapshots", "oms.order-events") for n in range(4)
    }
    assert {(one["position"], one["lag"], one["mismatch"]) for one in listed} == {(None, 0, "")}
    good("events", "publish", str(GOOD), "--yes")
    assert sum(one["lag"] for one in answer("offsets", "list")) == 1
    _consume(publishing)
    assert sum(one["lag"] for one in answer("offsets", "list")) == 0
    partition = Partition("oms.order-events", 3)
    with publishing.store.transaction() as tx:
        progress_rows.reset(tx, "embedded", "orderflow", partition, Progress(9))
    result = call("offsets", "list", "--json")
    assert result.exit_code == BAD_ANSWER
    assert [(one["partition"], one["mismatch"]) for one in json.loads(result.stdout) if one["mismatch"]] == [
        (3, "log_shorter")
    ]
    result = call("offsets", "list")
    assert (result.exit_code, "log_shorter: the log ends before" in result.stdout) == (BAD_ANSWER, True)


def test_offsets_are_reset_after_a_yes_and_every_shop_is_read_anew(publishing: Desk) -> None:
    publishing.shows("SHIPPING")
    partition = Partition("oms.order-events", 3)
    with publishing.store.transaction() as tx:
        progress_rows.reset(tx, "embedded", "orderflow", partition, Progress(9))
        lease = lease_rows.take(tx, "poll/alpha", "x", publishing.clock.now(), publishing.clock.now())
        assert lease is not None
        now = publishing.clock.now()
        cursor_rows.save(tx, "alpha", Cursor(now, now, now), lease)
    reset = ("offsets", "reset", "oms.order-events", "--partition", "3", "--reason", "the disk was lost")
    assert "read 2 shops from their beginning?" in call(*reset, answers="n\n").stderr
    assert cursor_rows.find(publishing.store, "alpha") is not None
    assert good(*reset, "--yes") == "oms.order-events/3: 9 -> 0\n"
    assert answer("offsets", "list")
    assert cursor_rows.find(publishing.store, "alpha") is None
    assert [attempt.carries for attempt in publishing.row.facts.attempts] == [RESTORED]


def test_offsets_that_cannot_be_reset(publishing: Desk) -> None:
    assert "one of mirakl.order-snapshots, oms.order-events" in complaint(
        "offsets", "reset", "orders", "--reason", "x", "--yes"
    )
    assert "no such partition: oms.order-events/9" in complaint(
        "offsets", "reset", "oms.order-events", "--partition", "9", "--reason", "x", "--yes"
    )
    assert "--reason" in complaint("offsets", "reset", "oms.order-events", "--yes")
    said = complaint("offsets", "reset", "oms.order-events", "--reason", " ", "--yes", code=BAD_ANSWER)
    assert said == "orderflow: --reason says nothing\n"


# -- The rest ----------------------------------------------------------------------------------------------------


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


def test_the_embedded_log_is_nothing_for_postgresql(tmp_path: Path) -> None:
    (tmp_path / "orderflow.toml").write_text(FILE.replace("sqlite:///orderflow.db", "postgresql+psycopg://h/db"))
    assert 'log.kind: "embedded" is for one process on SQLite' in complaint("orders", "list")


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


def test_the_configuration_is_shown_with_its_origins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = re.sub(r"^url = .*", 'url = "sqlite://hunter2@/x.db"', FILE, count=1, flags=re.MULTILINE)
    text += '[kafka]\nssl_password_file = "f"\ngroup_id = "orderflow"\n'
    (tmp_path / "orderflow.toml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("ORDERFLOW_WEB__PORT", "9000")
    found = {row["key"]: (row["value"], row["origin"]) for row in answer("config", "show")}
    assert found["web.port"] == (9000, "environment")
    assert found["web.host"] == ("127.0.0.1", "default")
    assert found["shops.alpha.shop_id"] == (2104, "file")
    assert found["shops.alpha.api_key_file"] == (str(tmp_path / "alpha.key"), "file")
    assert found["kafka.ssl_password_file"] == (str(tmp_path / "f"), "file")
    assert found["store.url"] == ("sqlite://(hidden)@/x.db", "file")
    assert "hunter2" not in good("config", "show")


def test_a_configuration_with_a_password_in_it_is_refused_and_not_shown(tmp_path: Path) -> None:
    text = re.sub(r"^url = .*", 'url = "sqlite:///x.db?password=hunter2"', FILE, count=1, flags=re.MULTILINE)
    (tmp_path / "orderflow.toml").write_text(text, encoding="utf-8")
    said = complaint("config", "show")
    assert "orderflow.toml: store.url: a password belongs into a file" in said
    assert "hunter2" not in said


def test_the_demo_s_database_has_to_have_an_address(tmp_path: Path) -> None:
    said = complaint("demo", "--kafka-at", "127.0.0.1:1", "--postgres-at", "hunter2", "--folder", str(tmp_path))
    assert said.startswith("orderflow: --postgres-at: is not a database URL; examples: ")
    assert "hunter2" not in said


def test_the_schema_of_the_configuration_is_json() -> None:
    schema = json.loads(good("config", "schema"))
    assert {"store", "shops", "web"} <= schema["properties"].keys()


def test_the_diagram_is_that_of_the_machine() -> None:
    assert good("diagram") == diagram.mermaid() + "\n"
    assert good("diagram", "--overview") == diagram.overview() + "\n"
    assert good("diagram", "--table") == diagram.markdown() + "\n"


def test_the_version_is_printed() -> None:
    assert good("version") == "0.1.0\n"


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
