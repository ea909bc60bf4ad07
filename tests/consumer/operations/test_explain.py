"""Sentences about orders that really went through apply and the worker; the helpers here serve the acts and the CLI."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import OutcomeUnknown, Rejected, RemoteError, Retryable
from adapters.ports import Catalog, OrdersPage, OrdersQuery
from adapters.remotes.kornitx_order import build_payload
from adapters.store import commands as command_rows
from adapters.store import journal as journal_rows
from adapters.store import orders as order_rows
from adapters.store import shops as shop_rows
from adapters.store.orders import OrderRow
from consumer.apply import OrderWriter
from consumer.operations.explain import Explanation, TimelineRow, explain, known, timeline
from consumer.operations.verify import differences, redecided
from consumer.retry import Backoff
from consumer.worker import Shop, Worker
from statemachine.attention import Reason, StandingAttention
from statemachine.commands import CommandKind, Policy
from statemachine.events import Event, Trigger
from statemachine.facts import PAY_ON_ACCEPTANCE, PAY_ON_SHIPMENT, Decision, DecisionKind, Facts, Part, Tracking
from statemachine.states import State
from tests.statemachine.lives import START, answered, event, lives, parcel, read, sent, snapshot_event, spoke
from tests.support import StillClock, new_store

NOON = 12 * 3600.0  # the still clock, in the seconds of tests.statemachine.lives
DOCS = Path(__file__).resolve().parents[3] / "docs"


class Remotes:
    """Mirakl and the OMS of one shop: every call ends as the test says."""

    def __init__(self) -> None:
        self.ends: RemoteError | None = None

    def _end(self) -> None:
        if self.ends is not None:
            raise self.ends

    def orders(self, query: OrdersQuery, offset: int) -> OrdersPage:
        raise NotImplementedError

    def accept(self, order_id: str, decisions: Mapping[str, bool]) -> None:
        self._end()

    def send_tracking(self, order_id: str, tracking: Tracking, catalog: Catalog) -> None:
        self._end()

    def confirm_shipment(self, order_id: str) -> None:
        self._end()

    def customer_messages(self, order_id: str) -> tuple[str, ...]:
        return ()

    def catalog(self) -> Catalog:
        return Catalog()

    def payload(self, order: bytes, messages: Sequence[str]) -> bytes:
        return build_payload(order, messages, company_ref_id=1)

    def import_order(self, payload: bytes) -> tuple[Part, ...]:
        self._end()
        return (Part(1, "REF", ("L1", "L2")),)


class Desk:
    """A store with one order O-1 of the shop alpha, everything that writes it, and a clock that stands still."""

    def __init__(self, folder: Path, policy: Policy | None = None, *, effects: bool = True) -> None:
        self.clock = StillClock()
        self.store = new_store(folder)
        self.policy = policy or Policy()
        self.remotes = Remotes()
        self.policies = {"alpha": self.policy}
        self.orders = OrderWriter(self.store, self.policies, self.clock)
        self.worker = Worker(
            self.store,
            self.orders,
            {"alpha": Shop("alpha", self.remotes, self.remotes, 1)},
            self.policies,
            self.clock,
            grace=timedelta(seconds=120),
            backoff=Backoff(),
            jitter=lambda: 0.0,
        )
        with self.store.transaction() as tx:
            shop_rows.bind(tx, "alpha", "https://alpha.mirakl.net", 2104, effects=effects, now=self.clock.now())

    def tell(self, *events: Event) -> OrderRow:
        self.orders.apply(events)
        return self.row

    def shows(self, state: str, workflow: str = PAY_ON_ACCEPTANCE, **more: object) -> OrderRow:
        """Mirakl is read now."""
        now = (self.clock.now() - START).total_seconds()
        what: dict[str, Any] = {"updated": now, "began": now} | more
        return self.tell(snapshot_event(read(state, workflow, **what)))

    def works(self, ends: RemoteError | None = None) -> OrderRow:
        """The worker makes the next call, which ends so."""
        self.remotes.ends = ends
        assert self.worker.turn()
        return self.row

    @property
    def row(self) -> OrderRow:
        return order_rows.find(self.store, "O-1")[0]

    @property
    def timeline(self) -> list[TimelineRow]:
        return timeline(journal_rows.of_order(self.store, self.row.key))

    def explain(self) -> Explanation:
        return explain(
            self.row,
            journal_rows.of_order(self.store, self.row.key),
            command_rows.of_order(self.store, self.row.key),
            shop=shop_rows.list_all(self.store)[0],
            policy=self.policy,
            now=self.clock.now(),
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def acted(kind: DecisionKind, *subject: str, when: float = NOON) -> Event:
    says = Facts(
        decisions=(Decision(StillClock().now() + timedelta(seconds=when - NOON), kind, "ana", "checked", subject),)
    )
    return event(Trigger.DECISION, f"{kind}:{when}", says)


# -- Waits for, in the order of an order's life ------------------------------------------------------------------

WAITS: list[tuple[str, Callable[[Desk], object], str]] = [
    ("known from the OMS", lambda d: d.tell(spoke()), "the first read of its state"),
    ("staging", lambda d: d.shows("STAGING"), "Mirakl, which still checks it"),
    ("acceptance is due", lambda d: d.shows("WAITING_ACCEPTANCE"), "a worker: accept_order is due since 12:00:00"),
    (
        "acceptance is called",
        lambda d: (d.shows("WAITING_ACCEPTANCE"), d.worker.claim()),
        "the answer to accept_order, which is under way (attempt 1)",
    ),
    (
        "acceptance failed",
        lambda d: (d.shows("WAITING_ACCEPTANCE"), d.works(Retryable("OR21", "5xx", status=503))),
        "accept_order, retried at 12:00:05 (attempt 1, last 503), gives up at 2026-03-04 12:00:00",
    ),
    (
        "acceptance timed out",
        lambda d: (d.shows("WAITING_ACCEPTANCE"), d.works(OutcomeUnknown("OR21", "timeout"))),
        "accept_order, retried at 12:00:05 (attempt 1, last timeout), gives up at 2026-03-04 12:00:00",
    ),
    (
        "acceptance refused",
        lambda d: (d.shows("WAITING_ACCEPTANCE"), d.works(Rejected("OR21", "400", status=400))),
        "a read that begins after 12:00:00 to show why accept_order was refused",
    ),
    (
        "acceptance refused, and still waited for",
        lambda d: (
            d.shows("WAITING_ACCEPTANCE"),
            d.works(Rejected("OR21", "400", status=400)),
            d.tell(snapshot_event(read("WAITING_ACCEPTANCE", updated=NOON, began=NOON + 1))),
        ),
        "a person: Mirakl refused the acceptance and still waits for it (accept_order)",
    ),
    (
        "accepted",
        lambda d: (d.shows("WAITING_ACCEPTANCE"), d.works()),
        "a read that begins after 12:02:00 to show the acceptance",
    ),
    ("payment", lambda d: d.shows("WAITING_DEBIT_PAYMENT"), "Mirakl debits the customer; nobody here can retry_now it"),
    (
        "address",
        lambda d: d.shows("SHIPPING", has_address=False),
        "an address: Mirakl shows SHIPPING without one, and the order is read again",
    ),
    ("no line", lambda d: d.shows("SHIPPING", lines=()), "a person: Mirakl shows SHIPPING without any open line"),
    (
        "import refused",
        lambda d: (d.shows("SHIPPING"), d.works()),  # no bytes of the order are stored here
        "a person: the order cannot be imported as it is, or the OMS refused it (import_order)",
    ),
    ("imported", lambda d: (d.shows("SHIPPING"), d.tell(spoke())), "the OMS to report that it sent the goods"),
    (
        "partly sent",
        lambda d: (d.shows("SHIPPING"), d.tell(parcel("L1", 2))),
        "the OMS to send the rest: L2",
    ),
    (
        "two calls",
        lambda d: (d.shows("WAITING_ACCEPTANCE"), d.tell(sent()), d.shows("SHIPPING", began=NOON + 1)),
        "a worker: send_tracking is due since 12:00:00",
    ),
    (
        "shipment confirmed",
        lambda d: (d.shows("SHIPPING"), d.tell(sent("")), d.works()),
        "a read that begins after 12:02:00 to show the shipment",
    ),
    (
        "debit of the shipment",
        lambda d: d.shows("WAITING_DEBIT", PAY_ON_SHIPMENT),
        "Mirakl debits the customer; nobody here can retry_now it",
    ),
    (
        "sent before it was accepted",
        lambda d: (d.shows("WAITING_ACCEPTANCE"), d.tell(sent()), d.works()),
        "a read that begins after 12:02:00 to show the acceptance",
    ),
    ("shipped", lambda d: d.shows("SHIPPED"), "nothing: Mirakl shows it shipped"),
    ("refused", lambda d: d.shows("REFUSED"), "nothing: it is final"),
    ("canceled", lambda d: d.shows("CANCELED"), "nothing: it is final"),
    (
        "held",
        lambda d: (d.shows("SHIPPING"), d.tell(acted(DecisionKind.HOLD))),
        "a person: a person holds this order",
    ),
]


@pytest.mark.parametrize(("happens", "waits_for"), [pytest.param(*case[1:], id=case[0]) for case in WAITS])
def test_what_an_order_waits_for(desk: Desk, happens: Callable[[Desk], object], waits_for: str) -> None:
    happens(desk)
    assert desk.explain().waits_for == waits_for


def test_effects_that_are_off_are_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path, effects=False)
    desk.shows("WAITING_ACCEPTANCE")
    assert desk.explain().waits_for == "effects of this shop are off: accept_order is due and would be sent"


def test_a_pause_is_told_of_the_calls_that_it_stops(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    with desk.store.transaction() as tx:
        shop_rows.set_switches(tx, "alpha", paused=("accept", "ship"))
    assert desk.explain().waits_for == "accept is paused for this shop: accept_order is due and would be sent"
    desk.shows("SHIPPING", began=NOON + 1)
    assert desk.explain().waits_for == "a worker: import_order is due since 12:00:00"


@pytest.mark.parametrize("policy", [Policy("hold"), Policy("known-skus", frozenset({"MUG"}))])
def test_a_decision_is_a_persons_by_policy(tmp_path: Path, policy: Policy) -> None:
    desk = Desk(tmp_path, policy)
    desk.shows("WAITING_ACCEPTANCE")
    found = desk.explain()
    assert found.waits_for == "a person: accept or refuse it"
    assert [look.reason for look in found.attention] == ["needs_decision"]
    assert "orders accept" in found.attention[0].cure


def test_older_orders_are_left_alone(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Policy(not_before=StillClock().now()))
    desk.shows("WAITING_ACCEPTANCE")
    assert desk.explain().waits_for == "nobody here: it is older than the shop's not_before (12:00:00) and left alone"


def test_a_call_that_was_given_up_waits_for_a_person(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    for _ in range(2):  # it is tried for 72 hours from the first try on
        desk.works(Retryable("OR21", "5xx", status=503))
        desk.clock.advance(72 * 3600)
    assert desk.explain().waits_for == "a person: a call was retried until its deadline (accept_order)"


# -- Why here, what next -----------------------------------------------------------------------------------------


def test_why_it_is_here_names_the_edge_and_the_event(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    desk.works()
    desk.shows("SHIPPING", began=NOON + 300, has_address=False)
    found = desk.explain()
    assert (found.state, found.since) == ("shipping", desk.clock.now())
    assert found.why_here == (
        "the acceptance is applied; nothing to wait for, or a fast debit "
        "(Mirakl shows SHIPPING without an address, 00:00:00)"
    )
    assert found.happens_next == "POST /order brings it to the OMS, and it becomes imported"


def test_an_order_that_never_moved_says_what_made_it_known(desk: Desk) -> None:
    desk.tell(spoke(7))
    assert desk.explain().why_here == (
        "known by id, and nothing has moved it yet (first: the OMS reports order 7, 00:00:00)"
    )


def test_a_refusal_by_hand_says_so(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    desk.tell(acted(DecisionKind.REFUSE))
    assert desk.explain().happens_next == "OR21 refuses every line, and a read shows it refused"


def test_nothing_is_sent_for_a_held_order(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.tell(acted(DecisionKind.HOLD))
    assert desk.explain().happens_next == "nothing is sent until a person settles it"


def test_a_missing_row_of_the_table_waits_for_an_upgrade(desk: Desk) -> None:
    desk.shows("SHIPPED")
    lost = replace(desk.row, attention=(StandingAttention(Reason.NO_EDGE, "shipped->new", since=desk.clock.now()),))
    found = explain(lost, [], [], shop=None, policy=desk.policy, now=desk.clock.now())
    assert found.waits_for == "a person: the facts want a state that no row of the table leads to"
    assert found.happens_next == "nothing is sent until an upgrade"


def test_every_life_can_be_explained_and_verified(desk: Desk) -> None:
    """Every order of every life, after all that can be said of it: no sentence is missing, nothing differs."""
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
            assert all(look.meaning and look.cure for look in found.attention)
            assert differences(row, entries) == redecided(row, entries, desk.policy) == []
            assert len(timeline(entries)) == len(entries)
            assert known(row.facts)
            seen.add(row.state)
    assert seen >= set(State) - {"new", "accepted", "imported"}


# -- Timeline ----------------------------------------------------------------------------------------------------


def test_the_timeline_tells_reads_calls_events_and_acts(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    desk.shows("WAITING_ACCEPTANCE")  # the same event once more
    desk.works(Retryable("OR21", "5xx", status=503, code="BUSY"))
    desk.clock.advance(5)
    desk.works()
    desk.tell(replace(sent(), note={"status": 8, "status_name": "Dispatched"}), acted(DecisionKind.HOLD))
    assert [(row.kind, row.what, row.moved, row.repeats) for row in desk.timeline] == [
        ("snapshot", "Mirakl shows WAITING_ACCEPTANCE", "new -> waiting_acceptance", 1),
        ("call", "accept_order (OR21) attempt 1 begins", "", 0),
        ("call", "accept_order (OR21) attempt 1: retry (5xx, 503, BUSY)", "", 0),
        ("call", "accept_order (OR21) attempt 2 begins", "", 0),
        ("call", "accept_order (OR21) attempt 2: done", "waiting_acceptance -> accepted", 0),
        ("oms_event", "the OMS reports status 8 Dispatched; sent, tracking T1", "accepted -> dispatched", 0),
        ("act", "ana: hold (checked)", "", 0),
    ]


def test_a_remotes_words_are_in_no_sentence(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    desk.works(Rejected("OR21", "400", status=400, code="BAD", words="for Erika Mustermann"))
    desk.shows("WAITING_ACCEPTANCE", began=NOON + 500)
    told = f"{desk.explain()} {desk.timeline} {known(desk.row.facts)}"
    assert "BAD" in told
    assert "Erika" not in told


# -- Verify ------------------------------------------------------------------------------------------------------


def test_a_row_that_is_not_its_journal_is_found(desk: Desk) -> None:
    row = desk.shows("SHIPPING")
    entries = journal_rows.of_order(desk.store, row.key)
    assert differences(row, entries) == []
    assert differences(replace(row, facts=Facts()), entries) == ["facts: snapshot differ from the journal"]
    assert differences(replace(row, state=State.SHIPPED), entries) == [
        "state: stored shipped, the journal's last is shipping",
        "state: stored shipped, the facts are shipping",
    ]
    assert differences(row, []) == [
        "version: stored 1, the journal holds 0 rows",
        "facts: snapshot differ from the journal",
        "state: stored shipping, the journal's last is new",
        "state: stored shipping, the facts are new",
    ]


def test_what_came_after_the_row_was_read_is_no_difference(desk: Desk) -> None:
    row = desk.shows("WAITING_ACCEPTANCE")
    desk.tell(
        answered(CommandKind.ACCEPT, carries="accept", answered=NOON), answered(CommandKind.IMPORT, answered=NOON)
    )
    assert differences(row, journal_rows.of_order(desk.store, row.key)) == []


def test_todays_code_may_decide_otherwise(desk: Desk) -> None:
    row = desk.shows("WAITING_ACCEPTANCE")
    entries = [replace(entry, after=State.ACCEPTED) for entry in journal_rows.of_order(desk.store, row.key)]
    assert redecided(row, entries, Policy("hold")) == [
        "version 1: recorded new -> accepted, today new -> waiting_acceptance",
        "attention: needs_decision: is today's, and not stored",
    ]
