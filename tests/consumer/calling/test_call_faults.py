"""Calls that fail or are refused: what is tried again, when, and which attention reasons an order gets.

Poller, log, apply and worker take part."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from adapters.errors import ConfigError
from adapters.messages.text import digest_of
from adapters.simulators.mirakl import changes
from adapters.store import schema as s
from adapters.store import snapshots as snapshot_rows
from adapters.store.facts_json import facts_to_json
from statemachine.commands import Policy
from statemachine.facts import Withdrawn
from statemachine.plan import plan
from statemachine.waits import WaitsFor, waits_for
from tests.consumer.rig import ALPHA_MIRAKL, ALPHA_OMS, Hook, Rig, mandatory


def refusing(status: int, path: str = "/", code: object = 7) -> Hook:
    """Answer every call of this path with an error of the remote's own."""
    body = json.dumps({"errors": [{"code": code, "message": "no"}]}).encode()
    return lambda request: httpx.Response(status, content=body) if path in request.url.path else None


def rounds(rig: Rig, kind: str) -> list[int]:
    return [command.round for command in rig.commands() if command.kind == kind]


# -- The basis of a rejection -------------------------------------------------------------------------------------


def refused_import(rig: Rig) -> None:
    """An order that Mirakl shows with other bytes in every read, and that the OMS refused."""
    rig.mirakl["alpha"].knobs.shuffled.add("1-A")
    rig.oms_net.hook = refusing(400)
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    assert rig.attention() == ["import_rejected"]
    assert len(rig.oms_net.bodies) == 1


def test_an_order_in_another_form_is_not_imported_again_after_a_rejection(rig: Rig) -> None:
    refused_import(rig)
    versions = rig.row().version
    for _ in range(3):
        rig.poll(60)
        rig.work()
    assert len(rig.oms_net.bodies) == 1
    assert rig.row().version == versions, "the same order is no news"


def test_a_field_that_the_import_does_not_carry_does_not_repeat_a_rejected_import(rig: Rig) -> None:
    refused_import(rig)
    for number in range(3):
        dates = {"earliest": f"2026-03-0{number + 4}T00:00:00Z", "latest": "2026-03-09T00:00:00Z"}
        changes.set_fields(rig.mirakl["alpha"], "1-A", has_incident=number % 2 == 0, delivery_date=dates)
        changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", price_additional_info=f"note {number}")
        rig.poll(60)
        rig.work()
    assert len(rig.oms_net.bodies) == 1
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1="2 Canary Row")
    rig.poll(60)
    rig.work()
    assert len(rig.oms_net.bodies) == 2, "what it carries has changed"
    assert rounds(rig, "import_order") == [0, 1]


def test_a_rejection_that_a_version_before_stored_counts_until_mirakl_changes_the_order(rig: Rig) -> None:
    """In that version the basis of a rejection was the digest of the bytes, and the digest of a read was too."""
    refused_import(rig)
    as_of_before(rig)
    for _ in range(3):
        rig.poll(60)
        rig.work()
    assert len(rig.oms_net.bodies) == 1
    assert rig.attention() == ["import_rejected"]
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1="2 Canary Row")
    rig.poll(60)
    rig.work()
    assert len(rig.oms_net.bodies) == 2


def test_an_import_waits_for_a_read_if_a_version_before_read_the_order(rig: Rig) -> None:
    """That version kept neither refunds nor the fulfilment centre."""
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    as_of_before(rig)
    assert rig.work() == 0
    assert rig.attention() == []
    assert WaitsFor.READ in waits_for(rig.row().facts, Policy(), plan(rig.row().facts, Policy()))
    rig.poll()
    rig.work()
    assert rig.state() == "imported"
    versions = rig.row().version
    rig.poll()
    assert rig.row().version == versions, "the same order is no news any more"


def test_an_order_that_was_refunded_while_a_version_before_ran_is_not_imported(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    changes.set_fields(rig.mirakl["alpha"], "1-A", fully_refunded=True)
    rig.poll()
    as_of_before(rig)
    assert rig.attention() == []
    rig.work()
    rig.poll()
    rig.work()
    assert rig.effects() == []
    assert rig.attention() == ["nothing_to_import"]


def as_of_before(rig: Rig) -> None:
    """Store the order as the version before did: without refunds. Digests are those of the bytes, also as the basis
    of rejections."""
    row = rig.row()
    raw = snapshot_rows.find(rig.store, row.key, row.digest)
    snapshot = row.facts.snapshot
    assert raw is not None
    assert snapshot is not None
    old = digest_of(raw)
    lines = tuple(replace(line, withdrawn=Withdrawn.NONE) for line in snapshot.lines)
    facts = replace(
        row.facts,
        snapshot=replace(snapshot, digest=old, import_digest="", lines=lines),
        rejections=tuple(replace(no, basis=old) for no in row.facts.rejections),
    )
    orders, bodies = s.orders.c, s.snapshots.c
    with rig.store.transaction() as tx:
        tx.execute(sa.update(s.orders).where(orders.id == row.key).values(facts=facts_to_json(facts), content=old))
        tx.execute(sa.update(s.snapshots).where(bodies.order_key == row.key).values(content=old))
    rig.orders.replan([(row.shop, row.order_id)])  # as each start of the service does


def test_an_acceptance_that_mirakl_refused_is_repeated_only_for_other_lines(rig: Rig) -> None:
    rig.nets["alpha"].hook = refusing(400, "/accept")
    rig.add("1-A", lines=2)
    rig.poll()
    rig.work()
    for number in range(3):
        changes.set_fields(rig.mirakl["alpha"], "1-A", has_incident=number % 2 == 0)
        rig.poll(60)
        rig.work()
    assert rounds(rig, "accept_order") == [0]
    assert rig.attention() == ["accept_rejected"]
    rig.mirakl["alpha"].cancel_line("1-A", "1-A-2")
    rig.poll(60)
    rig.work()
    assert rounds(rig, "accept_order") == [0, 1]


# -- Names of carriers --------------------------------------------------------------------------------------------


def dispatched(rig: Rig, tracking: str, carrier: str) -> None:
    rig.oms.dispatch("1-A", tracking=tracking, carrier=carrier)
    rig.consume()


def test_a_refused_shipment_is_not_repeated_because_mirakl_shows_the_carrier_s_code(rig: Rig) -> None:
    rig.imported()
    dispatched(rig, "T1", "dpd uk")
    rig.nets["alpha"].hook = refusing(400, "1-A/ship")
    rig.work()
    for _ in range(3):
        rig.poll(200)
        rig.work()
    assert rig.attention() == ["shipment_rejected"]
    assert rounds(rig, "confirm_shipment") == [0]
    assert rounds(rig, "send_tracking") == [0]


@pytest.mark.parametrize("carrier", ["DPDUK", "dpd uk", "Our van"])
def test_a_carrier_without_a_number_is_sent_once_however_mirakl_names_it(rig: Rig, carrier: str) -> None:
    simulator = rig.mirakl["alpha"]
    if carrier != "Our van":
        carriers = tuple(replace(one, tracking_url="") for one in simulator.marketplace.carriers)
        simulator.marketplace = replace(simulator.marketplace, carriers=carriers, alternative_carriers=False)
    rig.imported()
    rig.nets["alpha"].hook = refusing(400, "1-A/ship")
    dispatched(rig, "", carrier)
    rig.work()
    for _ in range(4):
        rig.poll(200)
        rig.work()
    assert rounds(rig, "send_tracking") == [0]
    assert rounds(rig, "confirm_shipment") == [0]


def test_another_carrier_with_the_same_number_lets_a_refused_shipment_go_again(rig: Rig) -> None:
    mandatory(rig, "alpha")
    rig.imported()
    dispatched(rig, "T1", "Our van")
    rig.nets["alpha"].hook = refusing(400, "1-A/ship")
    rig.work()
    rig.poll(200)
    rig.nets["alpha"].hook = lambda _request: None
    rig.clock.advance(timedelta(minutes=1).total_seconds())
    dispatched(rig, "T1", "DPD UK")
    rig.work()
    assert rig.effects() == ["imported", "tracking", "tracking", "shipped"]


# -- Calls that keep failing --------------------------------------------------------------------------------------


def details(rig: Rig) -> list[str]:
    return [one.detail for one in rig.row().attention if one.reason == "retrying"]


def test_a_call_that_keeps_failing_is_told_with_its_operation_and_code_until_it_succeeds(rig: Rig) -> None:
    rig.add("1-A")
    rig.nets["alpha"].hook = refusing(500, "/accept", code="BROKEN")
    rig.pass_time(minutes=9)
    assert rig.attention() == []
    rig.pass_time(minutes=3)
    assert details(rig) == ["accept_order#0 OR21 BROKEN"]
    assert len(rig.row().facts.troubles) == 1, "written once"
    rig.nets["alpha"].hook = lambda _request: None
    rig.pass_time(minutes=16)
    assert rig.effects()[0] == "accepted"
    assert "retrying" not in rig.attention()


def test_a_call_that_keeps_failing_is_told_after_half_of_the_time_left(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    changes.set_fields(
        rig.mirakl["alpha"], "1-A", shipping_deadline=(rig.clock.now() + timedelta(minutes=9)).isoformat()
    )
    rig.fail("order", "500", 100)
    rig.pass_time(minutes=3)
    assert details(rig) == []
    rig.pass_time(minutes=3)
    assert details(rig) == ["import_order#0 POST /order 500"]


def test_an_account_that_is_refused_is_told_for_the_orders_that_wait_for_it(rig: Rig) -> None:
    rig.add("1-A")
    rig.nets["alpha"].hook = refusing(403, "/accept", code=None)
    rig.pass_time(minutes=15)
    assert details(rig) == ["accept_order#0 OR21 403"]


def test_a_call_that_ends_rejected_is_not_told_as_retrying(rig: Rig) -> None:
    rig.add("1-A")
    rig.nets["alpha"].hook = refusing(500, "/accept")
    rig.pass_time(minutes=12)
    assert details(rig) != []
    rig.nets["alpha"].hook = refusing(400, "/accept")
    rig.pass_time(minutes=20)
    assert rig.attention() == ["accept_rejected"]


# -- A tracking that keeps failing --------------------------------------------------------------------------------


def test_a_tracking_that_keeps_failing_holds_the_shipment_for_an_hour(rig: Rig) -> None:
    rig.imported()
    dispatched(rig, "T1", "DPD UK")
    rig.nets["alpha"].hook = refusing(500, "/tracking")
    rig.pass_time(minutes=55)
    assert rig.effects() == ["imported"]
    assert details(rig) == ["send_tracking#0 OR23 7"]
    rig.pass_time(minutes=10)
    assert rig.effects() == ["imported", "shipped"]
    rig.poll()
    assert rig.state() == "shipped"
    assert details(rig) != [], "and the tracking is still tried"
    rig.nets["alpha"].hook = lambda _request: None
    rig.pass_time(minutes=16)
    assert rig.effects() == ["imported", "shipped", "tracking"]
    assert rig.attention() == []


def test_a_new_tracking_does_not_begin_the_hold_again(rig: Rig) -> None:
    rig.imported()
    rig.nets["alpha"].hook = refusing(500, "/tracking")
    for number in range(2):
        dispatched(rig, f"T{number}", "DPD UK")
        rig.pass_time(minutes=32)
    assert rig.effects() == ["imported", "shipped"]


def test_it_holds_the_shipment_never_until_the_deadline(rig: Rig) -> None:
    rig.imported()
    changes.set_fields(rig.mirakl["alpha"], "1-A", shipping_deadline=(rig.clock.now() + timedelta(hours=1)).isoformat())
    rig.nets["alpha"].hook = refusing(500, "/tracking")
    rig.poll()
    dispatched(rig, "T1", "DPD UK")
    rig.pass_time(minutes=25)
    assert rig.effects() == ["imported"]
    rig.pass_time(minutes=8)
    assert rig.effects() == ["imported", "shipped"]


def test_a_tracking_that_a_short_fault_delays_goes_before_the_shipment(rig: Rig) -> None:
    rig.imported()
    dispatched(rig, "T1", "DPD UK")
    rig.fail("OR23", "500", 3)
    rig.pass_time(minutes=5)
    assert rig.effects() == ["imported", "tracking", "shipped"]


def test_the_setting_of_the_shop_bounds_the_hold(tmp_path: Path) -> None:
    rig = Rig(tmp_path, policies={"alpha": Policy(tracking_holds_for=timedelta(minutes=2))})
    rig.imported()
    dispatched(rig, "T1", "DPD UK")
    rig.nets["alpha"].hook = refusing(500, "/tracking")
    rig.pass_time(minutes=4)
    assert rig.effects() == ["imported", "shipped"]


def test_an_operation_that_is_refused_does_not_hold_the_shipment_for_longer(rig: Rig) -> None:
    """The operation is paused, so the older command of the order is not claimed."""
    rig.imported()
    dispatched(rig, "T1", "DPD UK")
    rig.nets["alpha"].hook = refusing(403, "/tracking", code=None)
    rig.pass_time(minutes=55)
    assert rig.effects() == ["imported"]
    rig.pass_time(minutes=8)
    assert rig.effects() == ["imported", "shipped"]


# -- A fault belongs to the account and the operation --------------------------------------------------------------


def test_a_call_that_the_oms_refuses_with_403_rests_for_every_order(rig: Rig) -> None:
    for number in range(6):
        rig.add(f"{number}-A", state="SHIPPING")
    rig.oms_net.hook = refusing(403, code=None)
    rig.poll()
    rig.work()
    assert len(rig.oms_net.bodies) == 1


def test_trackings_that_keep_failing_stop_no_other_operation(rig: Rig) -> None:
    for number in range(6):
        rig.imported(f"{number}-A")
    rig.add("9-A")
    rig.nets["alpha"].hook = refusing(500, "/tracking")
    for number in range(6):
        rig.oms.dispatch(f"{number}-A", tracking=f"T{number}", carrier="DPD UK")
    rig.consume()
    rig.work()
    rig.poll()
    rig.work()
    assert rig.effects("9-A") == ["accepted"]


def test_an_empty_key_file_met_at_the_messages_is_mirakl_s_account(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.mirakl["alpha"].post_message("1-A", "Hello")
    rig.poll()
    accounts = rig.worker.accounts.by_key

    def no_key(_request: httpx.Request) -> httpx.Response:
        raise ConfigError("alpha.key is empty")

    rig.nets["alpha"].hook = no_key
    rig.work()
    assert accounts[ALPHA_MIRAKL].is_paused(rig.clock.now())
    assert not accounts[ALPHA_OMS].pauses_any(rig.clock.now())


@pytest.mark.parametrize("status", [404, 409, 423, 425])
def test_a_gateway_before_the_oms_leaves_no_order_to_a_person(rig: Rig, status: int) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.oms_net.hook = lambda _request: httpx.Response(status, content=b'{"message": "no Route matched"}')
    rig.work()
    assert rig.results == [("import_order", "retry")]
    rig.oms_net.hook = lambda _request: None
    rig.work(seconds=30)
    assert rig.state() == "imported"


def test_the_same_no_for_several_orders_in_a_row_leaves_no_order_to_a_person(rig: Rig) -> None:
    """The OMS refuses everything for a while. The first four refusals look as if they were about their orders, until
    the fifth shows that they are not."""
    for number in range(8):
        rig.add(f"{number}-A", state="SHIPPING")
    rig.oms_net.hook = refusing(400, code="MAINTENANCE")
    rig.poll()
    rig.work()
    assert [result for _, result in rig.results] == ["rejected"] * 4 + ["retry"]
    assert [rig.attention(f"{number}-A") for number in range(8)] == [[]] * 8
    assert rig.worker.accounts.by_key[ALPHA_OMS].circuit_is_open()
    rig.pass_time(minutes=15)
    assert [rig.attention(f"{number}-A") for number in range(8)] == [["retrying"]] * 8
    rig.oms_net.hook = lambda _request: None
    rig.pass_time(minutes=20)
    assert [rig.state(f"{number}-A") for number in range(8)] == ["imported"] * 8
    assert [rig.attention(f"{number}-A") for number in range(8)] == [[]] * 8
    assert {rig.effects(f"{number}-A").count("imported") for number in range(8)} == {1}


def test_four_refusals_of_the_same_words_are_about_their_orders(rig: Rig) -> None:
    for number in range(4):
        rig.add(f"{number}-A", state="SHIPPING")
    rig.oms_net.hook = refusing(400, code="UNKNOWN_SKU")
    rig.poll()
    rig.work()
    rig.pass_time(minutes=5)
    assert [rig.attention(f"{number}-A") for number in range(4)] == [["import_rejected"]] * 4
    assert len(rig.oms_net.bodies) == 4
