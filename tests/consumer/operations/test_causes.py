"""What each attention reason rests on in its order, and what a person does about it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import Rejected
from statemachine.commands import CommandKind, Policy
from statemachine.events import Event, Trigger
from statemachine.facts import (
    Cancellation,
    Decision,
    DecisionKind,
    Facts,
    Handover,
    Line,
    OmsStatus,
    Part,
    Tracking,
    Unread,
    Withdrawn,
)
from statemachine.failures import GiveUp, Recovery, Trouble
from statemachine.questions.troubles import NO_MESSAGE
from statemachine.reasons import REASONS, Reason
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import LINES, answered, at, event, parcel, read, sent, snapshot_event

CAUSES: list[tuple[str, Policy, Callable[[Desk], object], str]] = [
    (
        "unknown SKU",
        Policy("known-skus", frozenset({"MUG"})),
        lambda d: d.shows("WAITING_ACCEPTANCE"),
        "not in the list of known SKUs: TEE; lines: 2 of L1 (MUG), 1 of L2 (TEE); "
        "Mirakl waits until 2026-03-03 00:00 UTC",
    ),
    (
        "policy",
        Policy("hold"),
        lambda d: d.shows("WAITING_ACCEPTANCE"),
        'the shop has acceptance = "hold"; lines: 2 of L1 (MUG), 1 of L2 (TEE); '
        "Mirakl waits until 2026-03-03 00:00 UTC",
    ),
    (
        "an accepted line is gone",
        Policy(),
        lambda d: (
            d.shows("WAITING_ACCEPTANCE"),
            d.apply(
                event(
                    Trigger.DECISION,
                    "yes",
                    Facts(decisions=(Decision(at(9), DecisionKind.ACCEPT, "ana", "stock", ("L1",)),)),
                )
            ),
            d.shows(
                "WAITING_ACCEPTANCE",
                lines=(replace(LINES[0], state="CANCELED"), LINES[1]),
                updated=43_201,
                began=43_201,
            ),
        ),
        "ana accepted lines at 2026-03-01 00:00:09 UTC that are canceled since: L1 (MUG) CANCELED; "
        "lines: 1 of L2 (TEE); Mirakl waits until 2026-03-03 00:00 UTC",
    ),
    (
        "missing field",
        Policy(),
        lambda d: (d.shows("SHIPPING"), d.work()),
        "orderflow did not call POST /order (import_order): missing: the order as received",
    ),
    (
        "refused by Mirakl",
        Policy(),
        lambda d: (
            d.shows("SHIPPING"),
            d.apply(sent("")),
            d.work(Rejected("OR24", "400", status=400, code="ORDER_INVALID_STATE", words="Erika")),
            d.shows("SHIPPING", began=12 * 3600 + 1),
        ),
        "OR24 (confirm_shipment) ended with 400 ORDER_INVALID_STATE",
    ),
    (
        "not asked",
        Policy(),
        lambda d: (
            d.shows("SHIPPING"),
            d.apply(sent("")),
            d.work(Rejected("OR24", "not_sent", code="TRACKING_MANDATORY", words="SH12 wants a number")),
            d.shows("SHIPPING", began=12 * 3600 + 1),
        ),
        "orderflow did not call OR24 (confirm_shipment): SH12 wants a number",
    ),
    *(
        (
            f"not asked: {code}",
            Policy(),
            lambda d, code=code, outcome=outcome: (
                d.shows("SHIPPING"),
                d.apply(sent("T1")),
                d.work(Rejected("OR23", outcome, code=code, words="words of orderflow")),
                d.work(),
            ),
            "orderflow did not call OR23 (send_tracking): words of orderflow",
        )
        for code, outcome in (
            ("CARRIER_UNKNOWN", "not_sent"),
            ("TRACKING_EMPTY", "not_sent"),
            ("TRACKING_NUMBER_MISSING", "4xx"),  # as the version before stored it
        )
    ),
    (
        "refused without a code",
        Policy(),
        lambda d: (
            d.shows("SHIPPING"),
            d.apply(sent("")),
            d.work(Rejected("OR24", "400", status=400, code="0")),
            d.shows("SHIPPING", began=12 * 3600 + 1),
        ),
        "OR24 (confirm_shipment) ended with 400",
    ),
    (
        "part of a line",
        Policy(),
        lambda d: (d.shows("SHIPPING"), d.apply(parcel("L1", 2))),
        "not sent: L2 (TEE), 0 of 1 in parcels",
    ),
    (
        "part in the OMS",
        Policy(),
        lambda d: (
            d.shows("SHIPPING"),
            d.apply(
                event(Trigger.OMS_EVENT, "split", Facts(parts=(Part(1, "", ("L1",)), Part(2, "", ("L2",))))),
                sent(covers="order"),
            ),
        ),
        "not sent: OMS order 2",
    ),
]


@pytest.mark.parametrize(("policy", "happens", "cause"), [pytest.param(*case[1:], id=case[0]) for case in CAUSES])
def test_a_reason_names_what_it_rests_on(
    tmp_path: Path, policy: Policy, happens: Callable[[Desk], object], cause: str
) -> None:
    desk = Desk(tmp_path, policy)
    happens(desk)
    assert [one.cause for one in desk.explain().attention] == [cause]


def test_a_call_that_keeps_failing_names_its_operation_since_when_and_how(desk: Desk) -> None:
    desk.shows("SHIPPING", has_messages=True)
    since = desk.clock.now()
    troubles = (
        Trouble(CommandKind.IMPORT, "", 0, since - timedelta(hours=2), "M11", "403", "over"),
        Trouble(CommandKind.IMPORT, "", 0, since, "M11", "403", "Erika"),
        Trouble(CommandKind.IMPORT, "", 0, since, "POST /order", "5xx"),
    )
    over = Recovery(CommandKind.IMPORT, "", 0, "M11", since - timedelta(hours=1))
    facts = Facts(troubles=troubles, recoveries=(over,), clock=since + timedelta(days=9))
    desk.apply(event(Trigger.CALL, "fails", facts))
    causes = [one.cause for one in desk.explain().attention if one.reason == "retrying"]
    assert causes == [
        "M11 for import_order fails since 2026-03-01 12:00:00 UTC: 403; the import waited for the messages until "
        "2026-03-01 13:00:00 UTC, then a person decides",
        "POST /order fails since 2026-03-01 12:00:00 UTC: 5xx",
    ]


@pytest.mark.parametrize(
    ("state", "kind", "carries", "looks"),
    [("SHIPPING", CommandKind.IMPORT, "", True), ("WAITING_ACCEPTANCE", CommandKind.ACCEPT, "accept", False)],
)
def test_only_the_cure_of_an_import_that_was_given_up_begins_in_the_oms(
    desk: Desk, state: str, kind: CommandKind, carries: str, looks: bool
) -> None:
    desk.shows(state)
    desk.apply(event(Trigger.CALL, "given up", Facts(given_up=(GiveUp(kind, carries, 0),))))
    (cure,) = (one.cure for one in desk.explain().attention if one.reason == "gave_up")
    assert ("look there for the external_ref that `orderflow orders explain O-1 --shop alpha` shows" in cure) == looks
    assert f"`orderflow orders handled O-1 --shop alpha --call {kind} --reason WHY`" in cure


def test_an_import_that_waits_for_messages_says_until_when_and_what_a_person_can_do(desk: Desk) -> None:
    """The cure of another failing call speaks of the remote's words, which a read without messages does not have."""
    desk.shows("SHIPPING", has_messages=True)
    none_shown = Trouble(CommandKind.IMPORT, "", 0, at(0), "M11", NO_MESSAGE)
    desk.apply(event(Trigger.CALL, "fails", Facts(troubles=(none_shown,), clock=at(1800))))
    (told,) = desk.explain().attention
    assert told.cause == (
        "M11 for import_order fails since 2026-03-01 00:00:00 UTC: Mirakl says that the customer wrote, and shows no "
        "message; the import waits for the messages until 2026-03-01 01:00:00 UTC, then a person decides"
    )
    assert told.cure.startswith("Look for the messages in Mirakl's portal.")


def test_a_cure_can_be_pasted(desk: Desk) -> None:
    desk.shows("SHIPPING")
    desk.apply(parcel("L1", 3), parcel("L2", 2))
    cures = [one.cure for one in desk.explain().attention if one.reason == "quantity_exceeds_order"]
    assert "`orderflow orders settle O-1 --shop alpha --only quantity_exceeds_order --reason WHY`" in cures[0]


# -- Reasons that are not about a call ---------------------------------------------------------------------------

MUG, TEE = LINES
GONE = (replace(MUG, withdrawn=Withdrawn.WHOLE), replace(TEE, state="CANCELED"))


def oms(**facts: Any) -> Event:
    """A report of the OMS."""
    return event(Trigger.OMS_EVENT, str(sorted(facts)), Facts(**facts))


def imported(desk: Desk, *then: Event) -> object:
    desk.shows("SHIPPING")
    handover = Facts(handovers=(Handover(at(1), (("L1", 2), ("L2", 1)), (("prices", "aaaa"),)),))
    return desk.apply(event(Trigger.CALL, "handover", handover), answered(CommandKind.IMPORT), *then)


def shows(desk: Desk, state: str = "SHIPPING", **more: Any) -> object:
    """A later read."""
    desk.clock.advance(60)
    return desk.shows(state, **more)


RESTS_ON: list[tuple[str, Callable[[Desk], object], str]] = [
    ("unknown_state", lambda d: d.shows("ON_THE_MOON"), "Mirakl shows ON_THE_MOON, updated 2026-03-01 12:00:00 UTC"),
    ("nothing_to_accept", lambda d: d.shows("WAITING_ACCEPTANCE", lines=()), "Mirakl shows no line"),
    (
        "address_missing",
        lambda d: d.shows("SHIPPING", has_address=False),
        "Mirakl shows SHIPPING, updated 2026-03-01 12:00:00 UTC, without a shipping address",
    ),
    (
        "nothing_to_import",
        lambda d: d.shows("SHIPPING", lines=GONE),
        "L1 (MUG) refunded or canceled, L2 (TEE) CANCELED",
    ),
    (
        "not_ours_to_ship",
        lambda d: d.apply(snapshot_event(replace(read("SHIPPING"), centre="FC-9", can_ship=False))),
        "Mirakl says that the shop does not ship it (`can_shop_ship` is false); the fulfilment centre is FC-9; ours: "
        "DEFAULT",
    ),
    (
        "partly_withdrawn",
        lambda d: d.shows("SHIPPING", lines=(replace(MUG, withdrawn=Withdrawn.PART), TEE)),
        "L1 (MUG): Mirakl shows 2 pieces, and a cancelation or refund of a part",
    ),
    (
        "quantity_missing",
        lambda d: d.shows("SHIPPING", lines=(replace(MUG, quantity=None), TEE)),
        "without a quantity: L1 (MUG)",
    ),
    (
        "unknown_line_state",
        lambda d: d.shows("SHIPPING", lines=(MUG, replace(TEE, state="LOST"))),
        "L2 (TEE) is LOST, the OMS does not have it",
    ),
    (
        "line_shipped_before",
        lambda d: d.shows("SHIPPING", lines=(MUG, replace(TEE, shipped=True))),
        "with a shipped_date: L2 (TEE); Mirakl shows SHIPPING, updated 2026-03-01 12:00:00 UTC",
    ),
    (
        "shipped_before",
        lambda d: (d.shows("SHIPPED"), shows(d)),
        "shown shipped with the update of 2026-03-01 12:00:00 UTC; now Mirakl shows SHIPPING, updated "
        "2026-03-01 12:01:00 UTC",
    ),
    (
        "oms_canceled",
        lambda d: imported(d, oms(cancellations=(Cancellation(1, (("L1", 1),)),))),
        "OMS order 1 (REF): 1 of L1 (MUG)",
    ),
    ("oms_canceled", lambda d: imported(d, oms(cancellations=(Cancellation(1),))), "OMS order 1 (REF): all of it"),
    (
        "oms_canceled",
        lambda d: imported(
            d,
            oms(
                parts=(Part(2, "REF-2", ("L2",)), Part(3, "", ("L2",))),
                statuses=(OmsStatus(2, at(8), 4),),
                cancellations=(Cancellation(1),),
            ),
        ),
        "OMS order 1 (REF): all of it; not canceled: OMS order 2 (REF-2), status 4 at 2026-03-01 00:00:08 UTC; "
        "not canceled: OMS order 3, no status is known",
    ),
    (
        "oms_canceled",
        lambda d: imported(d, oms(cancellations=(Cancellation(1, (("L1", 1),), at(9)),))),
        "OMS order 1 (REF): 1 of L1 (MUG), reported at 2026-03-01 00:00:09 UTC",
    ),
    (
        "canceled_after_import",
        lambda d: (imported(d), shows(d, "CANCELED")),
        "Mirakl shows CANCELED, updated 2026-03-01 12:01:00 UTC; in the OMS: OMS order 1 (REF)",
    ),
    (
        "canceled_after_dispatch",
        lambda d: (imported(d, sent(when=7)), shows(d, "CANCELED")),
        "Mirakl shows CANCELED, updated 2026-03-01 12:01:00 UTC; sent: DPD T1 on 2026-03-01 00:00:07 UTC",
    ),
    (
        "lines_canceled_after_import",
        lambda d: (imported(d), shows(d, lines=(MUG, replace(TEE, state="CANCELED")))),
        "L2 (TEE): 1 went to the OMS, none is to be sent any more: Mirakl shows CANCELED",
    ),
    (
        "changed_after_import",
        lambda d: (
            imported(d),
            d.apply(
                snapshot_event(replace(read("SHIPPING", updated=90_000, began=90_000), contents=(("prices", "bbbb"),)))
            ),
        ),
        "changed: prices; the OMS has the order as Mirakl showed it at 2026-03-01 00:00:01 UTC",
    ),
    (
        "lines_not_imported",
        lambda d: (
            d.shows("SHIPPING"),
            d.apply(
                event(Trigger.CALL, "handover", Facts(handovers=(Handover(at(1), (("L1", 2), ("L2", 1))),))),
                oms(parts=(Part(1, "REF", ("L1",), quantities=(("L1", 1),)),)),
            ),
        ),
        "L1 (MUG): 2 went to the OMS, it has 1; L2 (TEE): 1 went to the OMS, it has none",
    ),
    (
        "sent_before_shipping",
        lambda d: (d.shows("WAITING_DEBIT"), d.apply(sent(when=7))),
        "sent: DPD T1 on 2026-03-01 00:00:07 UTC; Mirakl shows WAITING_DEBIT, updated 2026-03-01 12:00:00 UTC",
    ),
    (
        "quantity_exceeds_order",
        lambda d: imported(d, parcel("L1", 3)),
        "L1 (MUG): 3 in parcels, 2 ordered",
    ),
    (
        "foreign_tracking",
        lambda d: (d.shows("SHIPPING", tracking=Tracking("UPS", "77")), d.apply(sent())),
        "Mirakl shows UPS 77, the OMS reported DPD T1",
    ),
    (
        "held_in_oms",
        lambda d: (d.shows("SHIPPING"), d.apply(oms(parts=(Part(1, "REF", has_error=True),)))),
        "held: OMS order 1 (REF)",
    ),
    (
        "oms_query",
        lambda d: imported(d, oms(statuses=(OmsStatus(1, at(9), 32),))),
        "OMS order 1 (REF), reported at 2026-03-01 00:00:09 UTC",
    ),
    (
        "report_unreadable",
        lambda d: imported(d, oms(unread=(Unread(at(9), "unknown_status"),))),
        "nothing could be read of what was reported at 2026-03-01 00:00:09 UTC: unknown_status",
    ),
    (
        "line_incident",
        lambda d: (imported(d), shows(d, lines=(replace(MUG, state="INCIDENT_OPEN"), TEE))),
        "L1 (MUG) is INCIDENT_OPEN, the OMS has it",
    ),
    (
        "withdrawn_after_import",
        lambda d: (imported(d), shows(d, lines=GONE)),
        "L1 (MUG) refunded or canceled, L2 (TEE) CANCELED; in the OMS: OMS order 1 (REF)",
    ),
    (
        "gone_from_mirakl",
        lambda d: (
            d.shows("SHIPPING"),
            d.apply(event(Trigger.SNAPSHOT, "missed", Facts(not_found=(at(50_000), at(150_000))))),
        ),
        "last shown at 2026-03-01 12:00:00 UTC as SHIPPING; not shown at 2026-03-01 13:53:20 UTC and after that; "
        "gone_after_hours = 24",
    ),
    (
        "unknown_to_mirakl",
        lambda d: (
            d.policies.update(alpha=Policy(other_channels=False)),
            d.apply(oms(parts=(Part(1),), statuses=(OmsStatus(1, at(9), 512),)), clock()),
        ),
        "the OMS's order 1 was reported at 2026-03-01 00:00:09 UTC, status 512",
    ),
    (
        "acceptance_due",
        lambda d: (d.shows("WAITING_ACCEPTANCE", accept_by=at(90_000)), d.apply(clock())),
        "until 2026-03-02 01:00 UTC: Mirakl's acceptance_deadline",
    ),
    (
        "shipping_due",
        lambda d: (d.shows("SHIPPING"), d.apply(clock())),
        "until 2026-03-15 00:00 UTC: 336 hours after the order, because Mirakl names no deadline; the OMS does not "
        "have the order",
    ),
    (
        "payment_late",
        lambda d: (d.shows("WAITING_DEBIT"), d.apply(clock())),
        "Mirakl shows WAITING_DEBIT, updated 2026-03-01 12:00:00 UTC; PAY_ON_ACCEPTANCE: the customer pays before the "
        "shipment",
    ),
]


def clock() -> Event:
    return event(Trigger.CLOCK, "clock", Facts(clock=at(40 * 86_400)))


def test_a_deadline_of_ours_is_told_in_hours_also_if_it_is_no_whole_day(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Policy(accept_within=timedelta(hours=12)))
    desk.shows("WAITING_ACCEPTANCE")
    desk.apply(clock())
    (cause,) = [one.cause for one in desk.explain().attention if one.reason == "acceptance_due"]
    assert cause.endswith(": 12 hours after the order, because Mirakl names no deadline")


@pytest.mark.parametrize(
    ("reason", "happens", "cause"), [pytest.param(*case, id=f"{case[0]}: {case[2]}") for case in RESTS_ON]
)
def test_a_reason_names_the_line_the_part_and_the_date(
    desk: Desk, reason: str, happens: Callable[[Desk], object], cause: str
) -> None:
    happens(desk)
    assert cause in [one.cause for one in desk.explain().attention if one.reason == reason]


# -- Cures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "lines", "comes_back"),
    [
        ("withdrawn_after_import", GONE, "Stop the parcel or arrange its return"),
        (
            "lines_canceled_after_import",
            (GONE[0], TEE),
            "What is to arrive is perhaps in the same parcel: 1 of L2 (TEE).",
        ),
    ],
)
def test_goods_that_have_left_are_not_to_be_stopped_in_the_oms(
    desk: Desk, reason: str, lines: tuple[Line, ...], comes_back: str
) -> None:
    def cure() -> str:
        (found,) = (one.cure for one in desk.explain().attention if one.reason == reason)
        return found

    imported(desk)
    shows(desk, lines=lines)
    assert "in the OMS" in cure()
    desk.apply(sent())
    assert cure().startswith(f"The goods have left. {comes_back}")
    assert f"`orderflow orders settle O-1 --shop alpha --only {reason} --reason WHY`" in cure()


@pytest.mark.parametrize(
    "reason", ["accept_rejected", "import_rejected", "tracking_rejected", "shipment_rejected", "gave_up", "retrying"]
)
def test_the_cure_of_a_failed_call_says_where_the_words_of_the_remote_are(reason: str) -> None:
    assert "`orders show ORDER --received`" in REASONS[Reason(reason)].cure


# -- The remote's words ------------------------------------------------------------------------------------------


def test_the_words_of_a_refusal_are_shown_without_what_they_quote(desk: Desk) -> None:
    snapshot = read("WAITING_ACCEPTANCE")
    raw = b'{"order_id": "O-1", "customer": {"lastname": "Mustermann"}}'
    desk.apply(replace(snapshot_event(snapshot), raw=raw, digest=snapshot.digest))
    desk.work(Rejected("OR21", "400", status=400, code="BAD", words="the offer of Mustermann is gone"))
    desk.clock.advance(60)
    desk.apply(
        replace(
            snapshot_event(replace(snapshot, updated_at=desk.clock.now(), read_at=desk.clock.now(), digest="2")),
            raw=raw,
            digest="2",
        )
    )
    (found,) = desk.explain().attention
    assert found.cause == 'OR21 (accept_order) ended with 400 BAD, "the offer of ... is gone"'
