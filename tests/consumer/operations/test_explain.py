"""The sentences about orders that went through apply and the worker, and their timelines."""

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.errors import OutcomeUnknown, Rejected, RemoteError, Retryable
from adapters.store import commands as command_rows
from adapters.store import journal as journal_rows
from adapters.store import orders as order_rows
from adapters.store import shops as shop_rows
from consumer.operations.explain import explain
from consumer.operations.known import known
from consumer.operations.timeline import timeline
from consumer.operations.verify import differences, redecided
from statemachine.commands import Policy
from statemachine.events import Event, Trigger
from statemachine.facts import (
    PAY_ON_SHIPMENT,
    Cancellation,
    Decision,
    DecisionKind,
    Facts,
    Line,
    OmsStatus,
    Part,
    Unread,
    Withdrawn,
)
from statemachine.reason_of_order import StandingAttention
from statemachine.reasons import Reason
from statemachine.states import State
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import LINES, at, event, lives, parcel, read, sent, settled, snapshot_event, spoke
from tests.support import StillClock

REFUNDED = tuple(replace(line, state="REFUNDED") for line in LINES)
NOON = 12 * 3600.0  # the still clock, in the seconds of tests.statemachine.lives
DOCS = Path(__file__).resolve().parents[3] / "docs"


def decided(kind: DecisionKind) -> Event:
    """A decision by ana, at noon."""
    decision = Decision(StillClock().now(), kind, "ana", "checked")
    return event(Trigger.DECISION, str(kind), Facts(decisions=(decision,)))


# -- Waits for, in the order of an order's life ------------------------------------------------------------------

WAITS: list[tuple[str, Callable[[Desk], object], str]] = [
    ("known from the OMS", lambda d: d.apply(spoke()), "the first read of its state"),
    ("staging", lambda d: d.shows("STAGING"), "Mirakl, which still checks it"),
    ("acceptance is due", lambda d: d.shows("WAITING_ACCEPTANCE"), "a worker: accept_order is due since 12:00:00 UTC"),
    (
        "acceptance is called",
        lambda d: (d.shows("WAITING_ACCEPTANCE"), d.worker.claim()),
        "the answer to accept_order, which is under way (attempt 1)",
    ),
    (
        "acceptance failed",
        lambda d: (d.shows("WAITING_ACCEPTANCE"), d.work(Retryable("OR21", "5xx", status=503))),
        "the next try of accept_order at 12:00:05 UTC (attempt 1 ended with 503); gives up at 2026-03-04 12:00:00 UTC",
    ),
    (
        "acceptance timed out",
        lambda d: (d.shows("WAITING_ACCEPTANCE"), d.work(OutcomeUnknown("OR21", "timeout"))),
        "the next try of accept_order at 12:00:05 UTC (attempt 1 ended with timeout); gives up at "
        "2026-03-04 12:00:00 UTC",
    ),
    (
        "acceptance refused",
        lambda d: (d.shows("WAITING_ACCEPTANCE"), d.work(Rejected("OR21", "400", status=400))),
        "a read that begins after 12:00:00 UTC and shows why accept_order was refused",
    ),
    (
        "acceptance refused, and still waited for",
        lambda d: (
            d.shows("WAITING_ACCEPTANCE"),
            d.work(Rejected("OR21", "400", status=400)),
            d.apply(snapshot_event(read("WAITING_ACCEPTANCE", updated=NOON, began=NOON + 1))),
        ),
        "a person: Mirakl refused the acceptance and still waits for it (accept_order)",
    ),
    (
        "read by a version before",
        lambda d: d.apply(snapshot_event(replace(read("SHIPPING", updated=NOON, began=NOON), import_digest=""))),
        "a read that begins after 12:00:00 UTC, because an earlier version read less of it",
    ),
    (
        "accepted",
        lambda d: (d.shows("WAITING_ACCEPTANCE"), d.work()),
        "a read that begins after 12:02:00 UTC and shows the acceptance",
    ),
    (
        "payment",
        lambda d: d.shows("WAITING_DEBIT_PAYMENT"),
        "Mirakl, which debits the customer; neither orderflow nor the seller can speed that up",
    ),
    (
        "address",
        lambda d: d.shows("SHIPPING", has_address=False),
        "an address: Mirakl shows SHIPPING without one, and the order is read again",
    ),
    (
        "no line",
        lambda d: d.shows("SHIPPING", lines=()),
        "a read that shows it canceled, or a line to send: Mirakl shows SHIPPING without any open line",
    ),
    (
        "no line to accept",
        lambda d: d.shows("WAITING_ACCEPTANCE", lines=()),
        "a read that shows its lines, which Mirakl does not show",
    ),
    (
        "an unknown state",
        lambda d: d.shows("ON_THE_MOON"),
        "a read of Mirakl that shows a state which this version knows",
    ),
    (
        "somebody else ships it",
        lambda d: d.apply(snapshot_event(replace(read("SHIPPING"), can_ship=False))),
        "a read of Mirakl that shows that the shop ships the order",
    ),
    (
        "a question of the OMS",
        lambda d: (
            d.shows("SHIPPING"),
            d.apply(spoke(), event(Trigger.OMS_EVENT, "asks", Facts(statuses=(OmsStatus(1, StillClock().now(), 32),)))),
        ),
        "a person in the OMS: the OMS has a question about the order (status 32), and waits for the answer",
    ),
    (
        "import refused",
        lambda d: (d.shows("SHIPPING"), d.work()),  # no bytes of the order are stored here
        "a person: the order cannot be imported as it is, or the OMS refused it (import_order)",
    ),
    ("imported", lambda d: (d.shows("SHIPPING"), d.apply(spoke())), "the OMS to report that it sent the goods"),
    (
        "partly sent",
        lambda d: (d.shows("SHIPPING"), d.apply(parcel("L1", 2))),
        "the OMS to send the rest: L2",
    ),
    (
        "two calls",
        lambda d: (d.shows("WAITING_ACCEPTANCE"), d.apply(sent()), d.shows("SHIPPING", began=NOON + 1)),
        "a worker: send_tracking is due since 12:00:00 UTC",
    ),
    (
        "shipment confirmed",
        lambda d: (d.shows("SHIPPING"), d.apply(sent("")), d.work()),
        "a read that begins after 12:02:00 UTC and shows the shipment",
    ),
    (
        "debit of the shipment",
        lambda d: d.shows("WAITING_DEBIT", PAY_ON_SHIPMENT),
        "Mirakl, which debits the customer; neither orderflow nor the seller can speed that up",
    ),
    (
        "sent before it was accepted",
        lambda d: (d.shows("WAITING_ACCEPTANCE"), d.apply(sent()), d.work()),
        "a read that begins after 12:02:00 UTC and shows the acceptance",
    ),
    ("shipped", lambda d: d.shows("SHIPPED"), "nothing: Mirakl shows it shipped"),
    (
        "shipped, with an attention reason",
        lambda d: (
            d.shows("SHIPPED"),
            d.apply(sent(""), event(Trigger.OMS_EVENT, "unread", Facts(unread=(Unread(at(1), "bad_field"),)))),
        ),
        "a person (see attention): Mirakl shows it shipped",
    ),
    ("refused", lambda d: d.shows("REFUSED"), "nothing: Mirakl shows it refused"),
    ("canceled", lambda d: d.shows("CANCELED"), "nothing: Mirakl shows it canceled"),
    (
        "refused, read before the grace of the answer is over",
        lambda d: (
            d.shows("WAITING_ACCEPTANCE"),
            d.work(),
            d.apply(snapshot_event(read("REFUSED", updated=NOON + 1, began=NOON + 1))),
        ),
        "nothing: Mirakl shows it refused",
    ),
    (
        "shipped, read before the grace of the answer is over",
        lambda d: (
            d.shows("SHIPPING"),
            d.apply(sent("")),
            d.work(),
            d.apply(snapshot_event(read("SHIPPED", updated=NOON + 1, began=NOON + 1))),
        ),
        "nothing: Mirakl shows it shipped",
    ),
    (
        "refunded, and settled",
        lambda d: (
            d.shows("SHIPPING"),
            d.apply(spoke()),
            d.apply(snapshot_event(read("SHIPPING", updated=NOON + 1, began=NOON + 1, lines=REFUNDED))),
            d.apply(settled(*(one.token for one in d.row.attention), when=NOON + 2)),
        ),
        "Mirakl to show it canceled; no line is open, so ask the operator to cancel it",
    ),
    (
        "held",
        lambda d: (d.shows("SHIPPING"), d.apply(decided(DecisionKind.HOLD))),
        "a person: a person holds this order",
    ),
]


@pytest.mark.parametrize(("happens", "waits_for"), [pytest.param(*case[1:], id=case[0]) for case in WAITS])
def test_what_an_order_waits_for(desk: Desk, happens: Callable[[Desk], object], waits_for: str) -> None:
    happens(desk)
    assert desk.explain().waits_for == waits_for


def test_an_order_waits_for_a_person_while_effects_are_off(tmp_path: Path) -> None:
    desk = Desk(tmp_path, effects=False)
    desk.shows("WAITING_ACCEPTANCE")
    assert desk.explain().waits_for == "a person: the effects of this shop are off, so accept_order is due and not sent"


def test_an_order_waits_for_a_person_while_its_group_of_effects_is_paused(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    with desk.store.transaction() as tx:
        shop_rows.set_switches(tx, "alpha", paused=("accept", "ship"))
    assert desk.explain().waits_for == "a person: accept is paused for this shop, so accept_order is due and not sent"
    desk.shows("SHIPPING", began=NOON + 1)
    assert desk.explain().waits_for == "a worker: import_order is due since 12:00:00 UTC"


@pytest.mark.parametrize("policy", [Policy("hold"), Policy("known-skus", frozenset({"MUG"}))])
def test_an_order_that_the_policy_does_not_answer_waits_for_a_person(tmp_path: Path, policy: Policy) -> None:
    desk = Desk(tmp_path, policy)
    desk.shows("WAITING_ACCEPTANCE")
    found = desk.explain()
    assert found.waits_for == "a person: accept or refuse it"
    assert [one.reason for one in found.attention] == ["needs_decision"]
    assert "orders accept" in found.attention[0].cure


def test_an_order_older_than_not_before_waits_for_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Policy(not_before=StillClock().now()))
    desk.shows("WAITING_ACCEPTANCE")
    assert (
        desk.explain().waits_for == "nothing: it is older than the shop's not_before (12:00:00 UTC), so no call is made"
    )


def test_an_order_without_a_date_is_not_older_than_not_before(tmp_path: Path) -> None:
    """It is touched, because a call too few would lose it."""
    desk = Desk(tmp_path, Policy(not_before=StillClock().now()))
    desk.shows("WAITING_DEBIT", created=datetime(1, 1, 1, tzinfo=UTC))
    assert "not_before" not in desk.explain().waits_for


def test_a_call_that_was_given_up_waits_for_a_person(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    for _ in range(2):  # the call is retried for 72 hours after its first try
        desk.work(Retryable("OR21", "5xx", status=503))
        desk.clock.advance(72 * 3600)
    assert desk.explain().waits_for == "a person: a call was retried until its deadline (accept_order)"


def test_a_hold_says_that_the_oms_goes_on(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.apply(spoke(), decided(DecisionKind.HOLD))
    assert desk.explain().waits_for.endswith("; the OMS has the order and goes on with it")
    desk.apply(sent())
    assert "goes on" not in desk.explain().waits_for


def test_what_happens_next_is_what_is_due_and_no_more(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.apply(sent(""))
    assert desk.explain().happens_next == "OR24 tells Mirakl that the order is shipped, and a read shows it"


def test_what_happens_next_names_the_lines_that_are_refused(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    decision = Decision(StillClock().now(), DecisionKind.ACCEPT, "ana", "x", ("L2",))
    desk.apply(event(Trigger.DECISION, "lines", Facts(decisions=(decision,))))
    assert desk.explain().happens_next == "OR21 accepts L2 and refuses L1, and it becomes accepted"


# -- Why here, what next -----------------------------------------------------------------------------------------


def test_why_it_is_here_names_the_edge_and_the_event(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    desk.work()
    desk.shows("SHIPPING", began=NOON + 300, has_address=False)
    found = desk.explain()
    assert found.state == "shipping"
    assert found.since == desk.clock.now()
    assert found.why_here == (
        "the acceptance is applied; nothing to wait for, or a fast debit "
        "(Mirakl shows SHIPPING without an address, 00:00:00 UTC)"
    )
    assert found.happens_next == "it goes to the OMS as soon as nothing stops that"


def test_why_an_order_is_new_names_its_first_event(desk: Desk) -> None:
    desk.apply(spoke(7))
    assert desk.explain().why_here == (
        "no event has changed its state yet (the first: the OMS reports order 7, 00:00:00 UTC)"
    )


def test_what_happens_next_names_the_refusal_of_a_person(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    desk.apply(decided(DecisionKind.REFUSE))
    assert desk.explain().happens_next == "OR21 refuses every line, and a read shows it refused"


def test_a_held_order_goes_on_after_its_release(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.apply(decided(DecisionKind.HOLD))
    assert desk.explain().happens_next == "after `orders release`: POST /order brings the order to the OMS"


def test_a_reason_that_holds_only_the_import_says_what_lets_it_go(desk: Desk) -> None:
    desk.shows("SHIPPING", lines=(Line("L1", "", "MUG", 2, Withdrawn.PART),))
    assert desk.explain().happens_next == "after `orders release`: POST /order brings the order to the OMS"
    desk.apply(snapshot_event(replace(read("SHIPPING", began=NOON + 1, updated=NOON + 1), can_ship=False)))
    assert desk.explain().happens_next == (
        "no POST /order until a read of Mirakl that shows that the shop ships the order"
    )


def test_a_refused_call_says_what_makes_it_again(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.work()  # no bytes of the order are stored here
    assert desk.explain().happens_next == (
        "POST /order (import_order) is not made again until `orders retry`, or until Mirakl changes the order"
    )


@pytest.mark.parametrize(
    ("happens", "says"),
    [
        (
            lambda d: d.apply(sent()),
            "OR23 (send_tracking) is not made again until `orders retry`, or until the OMS reports another tracking",
        ),
        (
            lambda d: d.apply(sent(number="")),
            "OR24 (confirm_shipment) is not made again until `orders retry`, or until Mirakl shows another tracking",
        ),
    ],
    ids=["tracking", "shipment"],
)
def test_a_refused_report_says_what_makes_it_again(desk: Desk, happens: Callable[[Desk], object], says: str) -> None:
    desk.shows("SHIPPING")
    desk.apply(spoke())
    happens(desk)
    desk.work(Rejected("OR23", "400", status=400))
    desk.clock.advance(1)
    desk.shows("SHIPPING")
    assert says in desk.explain().happens_next


def test_a_refused_answer_says_what_mirakl_does_by_itself(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    desk.work(Rejected("OR21", "400", status=400))
    desk.clock.advance(1)
    desk.shows("WAITING_ACCEPTANCE")
    assert desk.explain().happens_next == (
        "OR21 (accept_order) is not made again until `orders retry`; if nobody answers, Mirakl refuses the order after "
        "its deadline"
    )


def test_an_order_without_an_edge_waits_for_an_upgrade(desk: Desk) -> None:
    desk.shows("SHIPPED")
    lost = replace(desk.row, attention=(StandingAttention(Reason.NO_EDGE, "shipped->new", since=desk.clock.now()),))
    found = explain(lost, [], [], shop=None, policy=desk.policy, now=desk.clock.now())
    assert found.waits_for == "an upgrade: the facts amount to a state to which no row of the table leads"
    assert found.happens_next == "no call until an upgrade"


def test_a_quarantined_order_is_explained_without_being_planned(desk: Desk) -> None:
    desk.shows("SHIPPING")
    reasons = (StandingAttention(Reason.QUARANTINED, "ValueError", since=desk.clock.now()),)
    broken = replace(desk.row, attention=reasons, facts=replace(desk.row.facts, parts=None))  # type: ignore[arg-type]
    found = explain(broken, [], [], shop=None, policy=desk.policy, now=desk.clock.now())
    assert found.happens_next == "no call until an upgrade"
    assert found.attention[0].cause == "ValueError"


def test_every_life_can_be_explained_and_verified(desk: Desk) -> None:
    """Every few events of every life: no sentence is missing, and the order does not differ from its journal."""
    seen = set()
    for number, life in enumerate(lives()):
        mine = [replace(e, order_id=f"O-{number}", event_id=f"{number}:{e.event_id}") for e in life.events()]
        for count in range(0, len(mine), 3):
            desk.orders.apply(mine[count : count + 3])
            row = order_rows.find(desk.store, f"O-{number}")[0]
            entries, commands = journal_rows.of_order(desk.store, row.key), command_rows.of_order(desk.store, row.key)
            now = desk.clock.now()
            found = explain(row, entries, commands, shop=None, policy=desk.policy, now=now)
            assert all((found.why_here, found.waits_for, found.happens_next))
            assert all(one.meaning and one.cure for one in found.attention)
            assert differences(row, entries) == redecided(row, entries, desk.policy) == []
            assert sum(one.times for one in timeline(entries)) == sum(1 + entry.repeats for entry in entries)
            assert known(row.facts)
            seen.add(row.state)
    assert seen >= set(State) - {"new", "accepted", "imported"}


# -- Timeline ----------------------------------------------------------------------------------------------------


def test_the_timeline_shows_reads_calls_events_and_decisions(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    desk.shows("WAITING_ACCEPTANCE")  # the same event once more
    desk.work(Retryable("OR21", "5xx", status=503, code="BUSY"))
    desk.clock.advance(5)
    desk.work()
    desk.apply(replace(sent(), note={"status": 8, "status_name": "Dispatched"}), decided(DecisionKind.HOLD))
    assert [tuple(asdict(row).values())[2:6] for row in desk.timeline] == [  # times, kind, what, moved
        (2, "snapshot", "Mirakl shows WAITING_ACCEPTANCE", "new -> waiting_acceptance"),
        (1, "call", "OR21 (accept_order) failed, and is tried again: HTTP status 503, code BUSY", ""),
        (1, "call", "OR21 (accept_order) is done", "waiting_acceptance -> accepted"),
        (1, "oms_event", "the OMS reports order 1: status 8 Dispatched; sent, tracking T1", "accepted -> dispatched"),
        (1, "act", "ana: hold (checked)", ""),
    ]


def test_equal_events_in_a_row_are_one_row(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    first = desk.clock.now()
    for _ in range(5):
        desk.work(Retryable("OR21", "5xx", status=503))
        desk.clock.advance(900)
    desk.worker.claim()
    *_, failed, under_way = desk.timeline
    assert (failed.times, failed.at, failed.until) == (5, first, first + timedelta(hours=1))
    assert failed.what == "OR21 (accept_order) failed, and is tried again: HTTP status 503"
    assert (under_way.times, under_way.until, under_way.what) == (1, None, "OR21 (accept_order) begins")


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (Rejected("OR21", "400", status=400, code="0"), "OR21 (accept_order) is refused: HTTP status 400"),
        (
            OutcomeUnknown("OR21", "timeout"),
            "OR21 (accept_order) may have been carried out, and is tried again: timeout",
        ),
        (
            Rejected("OR21", "not_sent", code="INCOMPLETE"),
            "OR21 (accept_order) is refused: orderflow did not send it, code INCOMPLETE",
        ),
    ],
)
def test_a_call_is_told_in_words(desk: Desk, error: RemoteError, what: str) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    desk.work(error)
    assert desk.timeline[-1].what == what


def test_no_sentence_quotes_a_text_of_a_remote(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    desk.work(Rejected("OR21", "400", status=400, code="BAD", words="for Erika Mustermann"))
    desk.shows("WAITING_ACCEPTANCE", began=NOON + 500)
    sentences = f"{desk.explain()} {desk.timeline} {known(desk.row.facts)}"
    assert "BAD" in sentences
    assert "Erika" not in sentences


def test_each_row_of_the_timeline_names_the_order_in_the_oms(desk: Desk) -> None:
    desk.shows("SHIPPING")
    canceled = [
        event(Trigger.OMS_EVENT, f"canceled {n}", Facts(parts=(Part(n),), cancellations=(Cancellation(n),)))
        for n in (1, 2)
    ]
    desk.apply(*canceled)
    assert [(row.times, row.what) for row in desk.timeline if row.kind == Trigger.OMS_EVENT] == [
        (1, "the OMS reports order 1: canceled"),
        (1, "the OMS reports order 2: canceled"),
    ]
