"""What `orders show` says of each line: ordered, refunded, canceled, owed, in the OMS, sent."""

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.operations.lines import lines_of, withdrawals_of
from statemachine.facts import VOUCHED, Dispatch, Facts, Handover, Line, Tracking, Withdrawn
from statemachine.joining import join, snapshot_facts
from tests.statemachine.lives import LINES, answered, at, parcel, read

MUG, TEE = LINES
IMPORTED = join(Facts(handovers=(Handover(at(1), (("L1", 2), ("L2", 1))),)), answered("import_order").new_facts)


def shown(facts: Facts, *lines: Line, received: object = None) -> list[tuple[object, ...]]:
    """(state, ordered, refunded, canceled, owed, to the OMS, sent) of each line."""
    facts = join(facts, snapshot_facts(read("SHIPPING", lines=lines)))
    body = None if received is None else json.dumps(received).encode()
    return [tuple(asdict(one).values())[2:] for one in lines_of(facts, body)]


def test_a_line_that_was_refunded_after_the_import_shows_what_the_oms_has() -> None:
    received = {
        "order_lines": [
            {"order_line_id": "L1", "refunds": [{"quantity": 2, "amount": 19.8, "state": "WAITING_REFUND"}]},
            {"order_line_id": "L2", "cancelations": [{"amount": 5, "quantity": None}]},
        ]
    }
    refunded, canceled = replace(MUG, withdrawn=Withdrawn.WHOLE), replace(TEE, withdrawn=Withdrawn.PART)
    assert shown(IMPORTED, refunded, canceled, received=received) == [
        ("", 2, "2 for 19.8", "", "no", 2, "0"),
        ("", 1, "", "? for 5", "a person decides", 1, "0"),
    ]


def test_pieces_in_parcels_are_counted_and_a_status_means_all() -> None:
    facts = join(IMPORTED, parcel("L1", 1).new_facts)
    assert shown(facts, MUG, TEE) == [("", 2, "", "", "yes", 2, "1"), ("", 1, "", "", "yes", 1, "0")]
    all_of_it = Facts(dispatches=(Dispatch(VOUCHED, at(9), Tracking(), covers="order"),))
    assert [line[-1] for line in shown(join(facts, all_of_it), MUG, TEE)] == ["all", "all"]


def test_nothing_went_to_the_oms_before_the_import() -> None:
    assert shown(Facts(), replace(MUG, quantity=None)) == [("", None, "", "", "a person decides", None, "0")]


def test_an_order_that_was_never_read_has_no_lines() -> None:
    assert lines_of(Facts(), b"{}") == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(("order_lines", "refunds", "quantity")), inner),
)


@given(VALUES)
def test_what_mirakl_sent_is_read_whatever_it_is(received: object) -> None:
    assert len(shown(IMPORTED, MUG, TEE, received={"order_lines": received})) == 2
    assert len(shown(IMPORTED, MUG, TEE, received=[{"order_line_id": "L1", "refunds": received}])) == 2


@given(VALUES)
def test_withdrawals_are_said_whatever_mirakl_sent(received: object) -> None:
    for order in (received, {"order_lines": received}, {"order_lines": [{"order_line_id": "L1", "refunds": received}]}):
        withdrawals_of(json.dumps(order).encode(), "L1")


def test_each_withdrawal_of_a_line_is_said_with_its_amount_and_pieces() -> None:
    lines = [
        {"order_line_id": "L1", "refunds": [{"amount": 4.5, "quantity": 1}], "cancelations": [{"quantity": 2}]},
        {"order_line_id": "L2", "refunds": [{"amount": 9.9, "quantity": 0}]},
    ]
    body = json.dumps({"currency_iso_code": "GBP", "order_lines": lines}).encode()
    assert withdrawals_of(body, "L1") == ["a refund of 4.5 GBP for 1 piece", "a cancelation of ? GBP for 2 pieces"]
    assert withdrawals_of(body, "L2") == ["a refund of 9.9 GBP"]


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff"])
def test_bytes_that_are_no_order_take_nothing_away(body: bytes) -> None:
    facts = snapshot_facts(read("SHIPPING"))
    assert [one.line for one in lines_of(facts, body)] == ["L1", "L2"]
