"""What the store keeps of open orders stays true when a setting changes and the service starts again."""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from adapters.errors import ConfigError
from adapters.simulators.mirakl import changes
from adapters.store import schema as s
from statemachine.commands import CommandKind
from statemachine.facts import DecisionKind
from tests.consumer.restarting import start_again
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, lost_then_refused, tell

NO: Mapping[str, Any] = {}


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.imported()
    return rig


# -- not_before ----------------------------------------------------------------------------------------------------


def test_an_order_that_was_begun_goes_on_if_not_before_is_set_later(rig: Rig) -> None:
    rig.add("2-A", state="WAITING_ACCEPTANCE")
    rig.switch(paused=("accept",))
    rig.poll(60)
    start_again(rig, {"not_before": rig.clock.now() + timedelta(days=1)})
    rig.switch()
    tell(rig, 8, shipping_carrier="DPD", shipping_tracking="T1")
    rig.poll(600)
    assert (rig.state(), rig.effects()) == ("shipped", ["imported", "tracking", "shipped"])
    assert (rig.state("2-A"), rig.effects("2-A")) == ("waiting_acceptance", []), "no call of it was made before"


def test_an_imported_order_keeps_its_deadline_if_not_before_is_set_later(rig: Rig) -> None:
    start_again(rig, {"not_before": rig.clock.now() + timedelta(days=9)})
    rig.pass_time(days=2, hours=20)
    assert rig.attention() == ["shipping_due"]


@pytest.mark.parametrize("by_hand", ["handled", "reported"])
def test_an_order_that_was_entered_in_the_oms_by_hand_goes_on_if_not_before_is_set_later(
    tmp_path: Path, by_hand: str
) -> None:
    rig = Rig(tmp_path)
    rig.switch(paused=("import",))
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    if by_hand == "handled":
        decide(rig, DecisionKind.HANDLED)
    else:
        tell(rig, 4)
    assert (rig.state(), rig.effects(), rig.row().facts.attempts) == ("imported", [], ())
    start_again(rig, {"not_before": rig.clock.now() + timedelta(days=1)})
    rig.switch()
    tell(rig, 8, shipping_carrier="DPD", shipping_tracking="T1")
    rig.poll(600)
    assert (rig.state(), rig.effects()) == ("shipped", ["tracking", "shipped"])


@pytest.mark.parametrize("status", [4, 8])
def test_an_order_that_another_program_imported_before_the_change_over_is_left_alone(
    tmp_path: Path, status: int
) -> None:
    rig = Rig(tmp_path)
    rig.add("1-A", state="SHIPPING")
    rig.clock.advance(3600)
    start_again(rig, {"not_before": rig.clock.now()})
    for seconds in (60, 90_000):
        rig.poll(seconds)
        tell(rig, status, shipping_carrier="DPD", shipping_tracking="T1")
    assert (rig.effects(), rig.attention()) == ([], [])


# -- Deadlines, centres and what a report says ---------------------------------------------------------------------


def test_a_longer_margin_asks_a_person_at_once_and_a_shorter_one_ends_that(rig: Rig) -> None:
    rig.poll(86_400)
    for hours in (40, 6, 34):
        start_again(rig, {"deadlines": {"shipping_margin_hours": hours}})
        assert rig.attention() == [], "half of the time to the deadline counts, which is 36 hours"
    rig.poll(46_800)
    for hours, due in ((12, False), (36, True), (12, False)):
        start_again(rig, {"deadlines": {"shipping_margin_hours": hours}})
        assert rig.attention() == ["shipping_due"] * due


def test_a_centre_that_is_ours_no_more_asks_a_person_and_ours_again_ends_that(tmp_path: Path) -> None:
    ours = {"fulfilment_centres": {"PORTO"}}
    rig = Rig(tmp_path, shop_table=ours)
    rig.mirakl["alpha"].own_centers.add("PORTO")
    rig.add("1-A", state="SHIPPING")
    changes.set_centre(rig.mirakl["alpha"], "1-A", "PORTO")
    rig.poll()
    rig.work()
    assert (rig.state(), rig.attention()) == ("imported", [])
    start_again(rig)
    assert rig.attention() == ["not_ours_to_ship"]
    start_again(rig, ours)
    assert rig.attention() in ([], ["go_on_in_oms"]), "a person may have stopped it in the OMS"
    tell(rig, 8, shipping_tracking="T1")
    rig.poll(600)
    assert (rig.state(), rig.attention()) == ("shipped", [])


def test_a_report_of_before_keeps_what_it_said_if_the_oms_splits_orders_now(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.imported(lines=2)
    rig.switch(paused=("ship",))
    tell(rig, 8, shipping_tracking="T1")
    assert rig.state() == "dispatched"
    start_again(rig, oms_table={"may_split": True})
    rig.switch()
    rig.work(60)
    rig.poll(600)
    assert (rig.state(), rig.attention()) == ("shipped", [])


@pytest.mark.parametrize("right", ["Asia/Tokyo", "America/New_York"])
def test_the_newest_tracking_wins_after_a_wrong_time_zone_was_mended(tmp_path: Path, right: str) -> None:
    """A time after the report counts as that of the report, so the wrong zone makes a parcel older, not newer."""
    rig = Rig(tmp_path)
    rig.imported()
    for zone, number in (("UTC", "T1"), (right, "T2")):
        start_again(rig, oms_table={"time_zone": zone})
        at = rig.clock.now().astimezone(ZoneInfo(right)).replace(tzinfo=None).isoformat(" ", "seconds")
        items = [{"external_ref": "1-A-1", "quantity": 1}]
        tell(rig, 4, new_shipments=[{"tracking": number, "dispatch_datetime": at, "items": items}])
        rig.clock.advance(3600)
    rig.poll(600)
    assert rig.mirakl["alpha"].order("1-A")["shipping_tracking"] == "T2"


# -- The prefix of the shop's orders in the OMS --------------------------------------------------------------------

PREFIXED: dict[str, Any] = {"external_ref_prefix": "A-"}


def refs(rig: Rig) -> list[str]:
    return [json.loads(body)["external_ref"] for body in rig.oms_net.bodies]


@pytest.mark.parametrize(("before", "after"), [(NO, PREFIXED), (PREFIXED, NO)])
def test_with_another_prefix_the_service_starts_once_the_former_one_is_named(
    tmp_path: Path, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    rig = Rig(tmp_path, oms_table=before)
    rig.imported()
    former = before.get("external_ref_prefix", "")
    with pytest.raises(ConfigError, match=f'under the prefix "{former}", as {former}1-A. Keep that prefix, or'):
        start_again(rig, oms_table=after)
    start_again(rig, oms_table={**after, "former_external_ref_prefixes": [former]})
    rig.imported("2-A")
    prefix = after.get("external_ref_prefix", "")
    assert refs(rig) == [f"{former}1-A", f"{prefix}2-A"]
    rig.oms.dispatch(f"{former}1-A", carrier="DPD", tracking="T1")
    rig.oms.dispatch(f"{prefix}2-A", carrier="DPD", tracking="T2")
    for _ in range(2):
        rig.poll(60)
        rig.work()
    assert [rig.state(one) for one in ("1-A", "2-A")] == ["shipped", "shipped"]
    start_again(rig, oms_table=after)


def test_a_former_prefix_stays_named_while_the_oms_has_an_order_under_it(tmp_path: Path) -> None:
    """The former one is "", then "A-"; the newest order has neither."""
    rig = Rig(tmp_path)
    rig.imported()
    start_again(rig, oms_table=PREFIXED | {"former_external_ref_prefixes": [""]})
    rig.imported("2-A")
    third: dict[str, Any] = {"external_ref_prefix": "B-"}
    start_again(rig, oms_table=third | {"former_external_ref_prefixes": ["", "A-"]})
    rig.imported("3-A")
    assert refs(rig) == ["1-A", "A-2-A", "B-3-A"]
    for former, missing in (([], ""), (["A-"], ""), ([""], "A-")):
        with pytest.raises(ConfigError, match=f'the OMS has orders of the shop under the prefix "{missing}", as '):
            start_again(rig, oms_table=third | {"former_external_ref_prefixes": former})
    start_again(rig, oms_table=third | {"former_external_ref_prefixes": ["A-", ""]})
    rig.oms.dispatch("1-A", carrier="DPD", tracking="T1")
    rig.switch(paused=("ship",))
    for _ in range(2):
        rig.poll(60)
        rig.work()
    assert rig.state() == "dispatched"
    with pytest.raises(ConfigError, match='under the prefix ""'):
        start_again(rig, oms_table=third | {"former_external_ref_prefixes": ["A-"]})
    rig.switch()
    for _ in range(2):
        rig.poll(60)
        rig.work()
    assert rig.state() == "shipped"
    start_again(rig, oms_table=third | {"former_external_ref_prefixes": ["A-"]})


def test_the_prefix_of_an_import_whose_answer_was_lost_stays_named(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.fail("order", "timeout_after")
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    assert (rig.state(), rig.effects()) == ("shipping", ["imported"])
    with pytest.raises(ConfigError, match='under the prefix "", as 1-A'):
        start_again(rig, oms_table=PREFIXED)


def test_a_payload_of_another_form_is_read_whole(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.imported()
    c = s.commands.c
    for form, starts in (
        (b'{"items": [], "external_ref": "A-1-A"}', True),
        (b"{", True),
        (b'{"external_ref":"1-A"}', False),
    ):
        with rig.store.transaction() as tx:
            tx.execute(sa.update(s.commands).where(c.kind == CommandKind.IMPORT).values(payload=form))
        with nullcontext() if starts else pytest.raises(ConfigError, match='under the prefix "", as 1-A'):
            start_again(rig, oms_table=PREFIXED)


def test_an_import_that_may_have_landed_keeps_its_prefix(tmp_path: Path) -> None:
    """The OMS refuses a second order of one external_ref, so the goods are made once."""
    rig = Rig(tmp_path)
    lost_then_refused(rig)
    start_again(rig, oms_table=PREFIXED | {"former_external_ref_prefixes": [""]})
    rig.fail("order", "timeout_before")
    decide(rig, DecisionKind.RETRY)
    rig.work(60)
    rig.work(900)
    assert refs(rig) == ["1-A"] * 4
    assert rig.results[-1] == ("import_order", "already_done")
    assert (rig.state(), rig.effects(), rig.attention()) == ("imported", ["imported"], [])


def test_an_import_that_was_refused_goes_out_under_the_new_prefix(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.fail("order", "answer", status=400, content='{"error": {"message": "no", "code": 0}}')
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    assert rig.attention() == ["import_rejected"]
    start_again(rig, oms_table=PREFIXED)
    decide(rig, DecisionKind.RETRY)
    rig.work(60)
    assert (refs(rig), rig.state()) == (["1-A", "A-1-A"], "imported")
