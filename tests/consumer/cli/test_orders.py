"""`orderflow orders`."""

import json
from dataclasses import replace

import pytest

from adapters.errors import Rejected
from adapters.store import orders as order_rows
from consumer.apply import OrderWriter
from consumer.cli.output import BAD_ANSWER
from statemachine.events import Event
from statemachine.states import State
from tests.consumer.cli.runner import (
    answer,
    call,
    complaint,
    good,
)
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import read, snapshot_event

RECEIVED = b'{"order_id": "O-1", "customer": "Erika \xc3\x9cber", "price": 1.10}'


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
