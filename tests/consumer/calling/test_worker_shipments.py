"""Trackings and shipments by the worker. Rule N is docs/rules.md N."""

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from adapters.errors import Retryable
from adapters.store.commands import LEASE
from consumer.calling.last_looks import LeaseLost
from statemachine.facts import Tracking
from tests.consumer.rig import GRACE, Rig, mandatory

pytestmark = pytest.mark.usefixtures("lines")


def dispatched(rig: Rig, number: str, order_id: str = "1-A", **more: object) -> None:
    rig.oms.dispatch(order_id, tracking=number, carrier="DPD UK" if number else "", **more)  # type: ignore[arg-type]
    rig.consume()


def test_the_shop_s_name_of_a_carrier_reaches_mirakl(tmp_path: Path) -> None:
    rig = Rig(tmp_path, shop_table={"carriers": {"Deutscher Paketdienst": "DPD UK"}})
    rig.imported()
    rig.oms.dispatch("1-A", tracking="T1", carrier="deutscher paketdienst")
    rig.consume()
    rig.work()
    rig.poll()
    assert rig.effects() == ["imported", "tracking", "shipped"]
    assert rig.ours()[1].detail == {"tracking": "T1", "carrier": "DPDUK"}
    assert rig.attention() == []


@pytest.mark.parametrize("carrier", ["letter-post", "Brief"])
def test_a_carrier_without_a_number_is_sent_once_where_only_registered_carriers_are_allowed(
    tmp_path: Path, carrier: str
) -> None:
    """Mirakl shows the registered label and code, and not the name that the OMS or the shop's map has."""
    rig = Rig(tmp_path, shop_table={"carriers": {"Brief": "POST"}})
    mirakl = rig.mirakl["alpha"]
    mirakl.marketplace = replace(mirakl.marketplace, alternative_carriers=False)
    rig.imported()
    rig.oms.dispatch("1-A", carrier=carrier)
    rig.consume()
    rig.work()
    for _ in range(5):
        rig.clock.advance(300)
        rig.poll()
        rig.work()
    assert rig.effects() == ["imported", "tracking", "shipped"]
    assert rig.attention() == []


def shown(rig: Rig, order_id: str = "1-A") -> str | None:
    return rig.mirakl["alpha"].tracking(order_id)


def test_the_tracking_is_sent_before_the_shipment_is_confirmed(rig: Rig) -> None:
    rig.imported()
    dispatched(rig, "T1")
    assert rig.state() == "dispatched"
    assert rig.worker.turn()
    assert rig.effects() == ["imported", "tracking"]
    assert rig.worker.turn()
    assert rig.effects() == ["imported", "tracking", "shipped"]
    assert rig.ours()[1].detail == {"tracking": "T1", "carrier": "DPDUK"}
    assert rig.nets["alpha"].bodies[-1] == b"", "OR24 has no body"
    rig.poll()
    assert rig.state() == "shipped"
    assert rig.attention() == []
    assert rig.work() == 0


def test_rules_12_14_and_15_an_order_has_one_leased_command_and_each_tracking_has_a_row(rig: Rig) -> None:
    """T2 arrives during the call for T1, waits, and is sent afterwards. The late result of T1 does not end its row."""
    rig.imported()
    dispatched(rig, "T1")
    slow = rig.worker.claim()
    assert slow is not None
    rig.clock.advance(1)
    dispatched(rig, "T2", status=64)
    first, second = rig.commands()[-2:]
    assert first.state == "leased"
    assert first.unwanted
    assert second.state == "open"
    assert rig.worker.claim() is None, "docs/rules.md 12: the order is not free"

    rig.clock.advance(LEASE.total_seconds() + 1)  # the worker of T1 hangs
    quick = rig.worker.claim()
    assert quick is not None
    assert "T2" in quick.command.carries
    rig.worker.succeeded(slow, ())
    assert rig.command().lease_token == quick.token, "docs/rules.md 15: the token has changed"
    assert any("T1" in answer.carries for answer in rig.row().facts.answers), "the answer is a fact all the same"
    rig.worker.succeeded(quick, rig.worker.call(quick))
    assert [(c.carries.split(" | ")[1], c.state) for c in rig.commands()[1:3]] == [("T1", "obsolete"), ("T2", "done")]
    assert shown(rig) == "T2"


def test_rule_12_a_result_in_time_frees_the_order_for_the_next_tracking(rig: Rig) -> None:
    rig.imported()
    dispatched(rig, "T1")
    slow = rig.worker.claim()
    assert slow is not None
    rig.clients["alpha"].send_tracking("1-A", Tracking("DPD UK", "T1"), rig.clients["alpha"].catalog())
    rig.clock.advance(1)
    dispatched(rig, "T2", status=64)
    rig.worker.succeeded(slow, ())
    rig.work()
    assert [effect.detail.get("tracking") for effect in rig.ours()][1:] == ["T1", "T2", "T2"]
    assert shown(rig) == "T2"
    assert rig.effects()[-1] == "shipped"


def test_rule_24_an_older_tracking_of_ours_that_arrives_late_is_replaced_again(rig: Rig) -> None:
    rig.imported()
    dispatched(rig, "T1")
    rig.fail("OR23", "timeout_before")
    rig.work()
    rig.clock.advance(1)
    dispatched(rig, "T2", status=64)
    rig.work()
    assert shown(rig) == "T2"
    rig.clients["alpha"].send_tracking("1-A", Tracking("DPD UK", "T1"), rig.clients["alpha"].catalog())  # it arrives
    rig.poll(GRACE.total_seconds() + 1)
    rig.work()
    assert shown(rig) == "T2"
    assert rig.command().round == 1
    assert rig.effects().count("shipped") == 1


def test_rule_23_tracking_that_comes_after_the_shipment_is_still_sent(rig: Rig) -> None:
    rig.imported()
    dispatched(rig, "")
    rig.work()
    assert rig.effects() == ["imported", "shipped"]
    rig.poll()
    rig.clock.advance(1)
    dispatched(rig, "T1", status=516)
    rig.work()
    assert rig.effects() == ["imported", "shipped", "tracking"]
    assert shown(rig) == "T1"


def test_rule_22_where_tracking_is_mandatory_the_shipment_waits_for_it(rig: Rig) -> None:
    mandatory(rig, "alpha")
    rig.imported()
    dispatched(rig, "")
    rig.work()
    (rejection,) = rig.row().facts.rejections
    assert rejection.kind == "confirm_shipment"
    assert rejection.code == "TRACKING_MANDATORY"
    assert rig.mirakl["alpha"].requests["OR24"] == 0
    rig.poll()
    assert rig.attention() == ["shipment_rejected"]
    assert rig.work() == 0
    rig.clock.advance(1)
    dispatched(rig, "T1", status=516)
    rig.work()
    assert rig.effects() == ["imported", "tracking", "shipped"], "with another basis it is another round"


def test_rule_22_a_tracking_that_mirakl_rejects_does_not_stop_the_shipment(rig: Rig) -> None:
    rig.imported()
    dispatched(rig, "T1")
    rig.nets["alpha"].hook = lambda request: httpx.Response(400) if "/tracking" in request.url.path else None
    rig.work()
    assert rig.effects() == ["imported", "shipped"]
    assert rig.attention() == ["tracking_rejected"]


# -- The marketplace's settings for shipments ---------------------------------------------------------------------


def settings_read(rig: Rig) -> dict[str, int]:
    """How often each of the marketplace's settings for shipments was read, of those that were read."""
    requests = rig.mirakl["alpha"].requests
    return {operation: requests[operation] for operation in ("SH12", "SH21", "PC01") if requests[operation]}


def test_where_no_parcel_has_tracking_only_the_shipping_types_are_read(rig: Rig) -> None:
    for order_id in ("1-A", "2-A"):
        rig.imported(order_id)
        dispatched(rig, "", order_id)
        rig.work()
        assert rig.effects(order_id) == ["imported", "shipped"]
    assert settings_read(rig) == {"SH12": 1}


def test_a_tracking_reads_carriers_and_its_shipment_needs_no_shipping_types(rig: Rig) -> None:
    for order_id in ("1-A", "2-A"):
        rig.imported(order_id)
        dispatched(rig, "T1", order_id)
        rig.work()
        assert rig.effects(order_id) == ["imported", "tracking", "shipped"]
    assert settings_read(rig) == {"SH21": 1, "PC01": 1}


@pytest.mark.parametrize(
    ("operation", "kind", "status"),
    [("SH21", "answer", 401), ("PC01", "answer", 401)]
    + [(one, "answer", status) for one in ("SH21", "SH12", "PC01") for status in (403, 404, 500)]
    + [(one, "timeout_before", 0) for one in ("SH21", "SH12", "PC01")],
)
def test_no_setting_that_cannot_be_read_keeps_a_shipment_without_tracking(
    rig: Rig, operation: str, kind: str, status: int
) -> None:
    rig.fail(operation, kind, count=9, status=status)
    rig.imported()
    dispatched(rig, "")
    rig.work()
    assert rig.effects() == ["imported", "shipped"]
    assert rig.attention() == []


def test_carriers_that_mirakl_does_not_answer_keep_no_other_setting_from_being_read(rig: Rig) -> None:
    """OR24 would go out without the tracking that the shipping method needs."""
    mandatory(rig, "alpha")
    rig.fail("SH21", "timeout_before", count=9)
    rig.imported("1-A")
    rig.imported("2-A")
    dispatched(rig, "T1", "1-A")
    dispatched(rig, "", "2-A")
    rig.work()
    assert settings_read(rig) == {"SH21": 1, "PC01": 1, "SH12": 1}
    assert [rejection.code for rejection in rig.row("2-A").facts.rejections] == ["TRACKING_MANDATORY"]


def test_rule_15_the_late_answer_to_an_import_is_a_fact_and_leaves_the_row_alone(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    slow = rig.worker.claim()
    assert slow is not None
    made = rig.worker.call(slow)
    rig.clock.advance(LEASE.total_seconds() + 1)
    quick = rig.worker.claim()
    assert quick is not None
    assert quick.command.id == slow.command.id
    assert quick.command.maybe_sent
    rig.worker.succeeded(slow, made)
    assert rig.row().facts.parts == tuple(one.part for one in made), "the ids of the OMS are known"
    assert rig.command().state == "leased"
    assert rig.command().lease_token == quick.token
    with pytest.raises(LeaseLost):  # the import is known by now, so it is not sent again
        rig.worker.call(quick)
    assert rig.state() == "imported"
    assert rig.effects() == ["imported"]


def test_rule_15_a_late_failure_does_not_requeue_the_row_of_the_next_holder(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    slow = rig.worker.claim()
    assert slow is not None
    rig.clock.advance(LEASE.total_seconds() + 1)
    quick = rig.worker.claim()
    assert quick is not None
    rig.worker.failed(slow, Retryable("OR21", "429"))
    assert rig.command().state == "leased"
    assert rig.command().lease_token == quick.token
