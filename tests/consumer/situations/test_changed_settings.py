"""A setting that decides what an import carries changes while orders are open, and the service starts again.

What the OMS got and what Mirakl shows are compared by the settings of the import, so the change alone is no reason. An
order that is not imported yet is imported by the new settings.
"""

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from adapters.simulators.mirakl import changes
from consumer.operations.cases import Case
from consumer.operations.causes_of_orders import cause_of_order
from consumer.operations.changed import changed_values
from consumer.operations.verify import differences
from statemachine.facts import DecisionKind
from tests.consumer.housekeeping.test_reads_of_before import is_what_its_journal_adds_up_to, stored
from tests.consumer.restarting import start_again
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, details, lost_then_refused, tell
from tests.consumer.situations.test_oms_says_duplicate import duplicate

ADDRESS = "changed_after_import"
#: Settings of the table `oms`: the shop leaves this field of the order, and this field of its lines, out.
WITHOUT: dict[str, Any] = {"custom_fields": {"gift": "", "text": ""}}
NO: Mapping[str, Any] = {}
BY_PERSON = (DecisionKind.SETTLE, ADDRESS)


def set_gift(rig: Rig, gift: str | None, **more: str) -> None:
    """Set custom fields of the order: "gift", if it has a value, and others."""
    fields = ({"gift": gift} if gift is not None else {}) | more
    listed = [{"code": code, "type": "STRING", "value": value} for code, value in fields.items()]
    changes.set_fields(rig.mirakl["alpha"], "1-A", order_additional_fields=listed)


def set_text(rig: Rig, text: str) -> None:
    listed = [{"code": "text", "type": "STRING", "value": text}]
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", order_line_additional_fields=listed)


def add(rig: Rig, **fields: Any) -> None:
    rig.add("1-A", state="SHIPPING", **fields)
    set_gift(rig, "For Ana", card="Red")
    set_text(rig, "ANA")
    changes.set_fields(rig.mirakl["alpha"], "1-A", shipping_type_code="STD")
    rig.poll()


def imported(folder: Path, shop_table: Mapping[str, Any] = NO, oms_table: Mapping[str, Any] = NO) -> Rig:
    rig = Rig(folder, shop_table=shop_table, oms_table=oms_table)
    add(rig)
    rig.work()
    assert (rig.state(), rig.attention()) == ("imported", [])
    return rig


def payload_of(rig: Rig) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(rig.oms_net.bodies[-1])
    return found


def shown(rig: Rig, oms_table: Mapping[str, Any] = NO) -> list[tuple[str, str | None, str | None]]:
    left_out = [code for code, name in oms_table.get("custom_fields", {}).items() if not name]
    return [(one.field, one.oms, one.mirakl) for one in changed_values(rig.store, rig.row(), left_out)]


# -- A change of the settings alone --------------------------------------------------------------------------------

#: Of each setting that decides what an import carries, a value before and one after: of the shop, and of its `oms`.
SETTINGS: dict[str, tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]] = {
    "fields are left out": (NO, NO, NO, WITHOUT),
    "fields are carried": (NO, WITHOUT, NO, NO),
    "a field names the pick-up point": (NO, WITHOUT, NO, WITHOUT | {"pickup_point_fields": ["gift"]}),
    "a field has another name": (NO, NO, NO, {"custom_fields": {"gift": "Engraving"}}),
    "the pick-up point is a company": (NO, NO, NO, {"pickup_point_as_company": True}),
    "shipping methods": (NO, NO, NO, {"shipping_methods": {"STD": "RM1"}}),
    "countries": (NO, NO, NO, {"countries": {"GB": "IE", "GBR": "IE", "United Kingdom": "IE"}}),
    "required fields": (NO, NO, NO, {"required_order_fields": {"none"}, "required_line_fields": {"none"}}),
    "net amounts": (NO, NO, {"order_tax_mode": "TAX_EXCLUDED"}, NO),
    "gross amounts": ({"order_tax_mode": "TAX_EXCLUDED"}, NO, NO, NO),
    "messages": (NO, NO, {"without_messages": "import", "messages_wait_seconds": 1}, NO),
    "carriers": (NO, NO, {"carriers": {"DPD": "DPD UK"}, "other_carrier": "Else"}, NO),
    "acceptance": (NO, NO, {"acceptance": "hold"}, NO),
}


@pytest.mark.parametrize("what", SETTINGS)
def test_a_change_of_settings_alone_asks_nobody(tmp_path: Path, what: str) -> None:
    before, after = SETTINGS[what][:2], SETTINGS[what][2:]
    rig = imported(tmp_path, *before)
    for settings in (after, before, after):
        start_again(rig, *settings)
        for seconds in (60, 90_000):  # the order is read again after a day
            rig.poll(seconds)
            assert rig.attention() == []
    tell(rig, 8, shipping_carrier="DPD", shipping_tracking="T1")
    rig.poll(600)
    assert (rig.state(), rig.attention()) == ("shipped", [])
    assert rig.effects() == ["imported", "tracking", "shipped"]
    assert is_what_its_journal_adds_up_to(rig)


@pytest.mark.parametrize("told", [True, False], ids=["its answer was lost", "it was refused"])
def test_an_import_that_was_sent_by_other_settings_is_ours(tmp_path: Path, told: bool) -> None:
    """The import landed. If its answer was lost, its bytes are sent again; if it was refused too, new ones are made."""
    rig = Rig(tmp_path)
    lost_then_refused(rig)
    decide(rig, DecisionKind.RETRY)
    start_again(rig, oms_table={"custom_fields": {"none": ""}})
    rig.poll(90_000)
    if told:
        rig.fail("order", "timeout_before")
        rig.work()
        start_again(rig, oms_table={"custom_fields": {"other": ""}})
        rig.poll(60)
    duplicate(rig)
    rig.work(900)
    assert rig.results[-1] == ("import_order", "already_done"), "both leave out fields that the order does not have"
    assert (rig.state(), rig.attention()) == ("imported", [])


def test_two_imports_of_which_only_one_carries_a_field_are_compared_by_a_person(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.fail("order", "timeout_after")
    add(rig)
    rig.work()
    rig.fail("order", "answer", status=400, content='{"error": {"message": "Reference in use", "code": 0}}')
    rig.work(900)
    decide(rig, DecisionKind.RETRY)
    start_again(rig, oms_table=WITHOUT)
    duplicate(rig)
    rig.work(60)
    assert rig.attention() == ["already_in_oms"]


def test_an_order_that_is_not_imported_yet_is_imported_by_the_new_settings(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.switch(paused=("import",))
    add(rig)
    rig.work()
    start_again(rig, oms_table=WITHOUT | {"shipping_methods": {"STD": "RM1"}})
    rig.switch()
    rig.work(60)
    payload = payload_of(rig)
    assert [one["name"] for one in payload["attributes"]] == [":Mirakl.card"]
    assert "attributes" not in payload["items"][0]
    assert payload["shipping_method"] == "RM1"
    set_gift(rig, "For Bob", card="Red")
    rig.poll(60)
    assert (rig.state(), rig.attention()) == ("imported", [])


# -- What Mirakl changes counts by the settings of the import ------------------------------------------------------


def test_a_field_that_the_oms_has_is_told_also_if_the_shop_leaves_it_out_now(tmp_path: Path) -> None:
    rig = imported(tmp_path)
    start_again(rig, oms_table=WITHOUT)
    set_gift(rig, "For Bob", card="Red")
    rig.poll(60)
    assert details(rig)[ADDRESS].startswith("custom fields 2_:")
    assert shown(rig, WITHOUT) == [("gift", "For Ana", "For Bob")]
    start_again(rig)
    assert rig.attention() == [ADDRESS]
    decide(rig, *BY_PERSON)
    start_again(rig, oms_table=WITHOUT)
    rig.poll(90_000)
    assert rig.attention() == []
    set_text(rig, "BOB")
    rig.poll(60)
    assert details(rig)[ADDRESS].startswith("custom fields of lines 2_:")
    assert shown(rig, WITHOUT) == [("text", "ANA", "BOB")]
    assert is_what_its_journal_adds_up_to(rig)


def test_a_field_that_the_oms_does_not_have_is_not_told_also_if_the_shop_carries_it_now(tmp_path: Path) -> None:
    rig = imported(tmp_path, oms_table=WITHOUT)
    start_again(rig)
    set_gift(rig, "For Bob", card="Red")
    set_text(rig, "BOB")
    rig.poll(60)
    assert rig.attention() == []
    set_gift(rig, "For Eve", card="Blue")
    rig.poll(60)
    assert shown(rig) == [("card", "Red", "Blue")]
    decide(rig, *BY_PERSON)
    set_gift(rig, "For Ana", card="Blue")
    rig.poll(60)
    assert rig.attention() == []


def test_a_settle_names_the_field_that_changed_and_covers_no_other(tmp_path: Path) -> None:
    rig = imported(tmp_path)
    set_gift(rig, "For Bob", card="Red")
    rig.poll(60)
    first = details(rig)[ADDRESS]
    assert re.fullmatch("custom fields 2_:[0-9a-f]{16}", first)
    decide(rig, *BY_PERSON)
    set_gift(rig, "For Bob", card="Blue", size="L")
    rig.poll(60)
    assert re.fullmatch("custom fields 2_:[0-9a-f]{16}-[0-9a-f]{16}", details(rig)[ADDRESS])
    assert shown(rig) == [("card", "Red", "Blue"), ("size", "", "L")]
    decide(rig, *BY_PERSON)
    set_gift(rig, None, card="Blue", size="L")
    rig.poll(60)
    assert re.fullmatch("custom fields 2_:[0-9a-f]{8}", details(rig)[ADDRESS]), "the field has no value any more"
    assert shown(rig) == [("gift", "For Bob", "")]
    decide(rig, *BY_PERSON)
    assert rig.attention() == []
    set_gift(rig, "For Ana", card="Red")
    rig.poll(60)
    assert sorted(shown(rig)) == [("card", "Blue", "Red"), ("gift", "", "For Ana"), ("size", "L", "")]


def test_a_field_there_and_back_stays_told_while_one_that_is_left_out_changes_often(tmp_path: Path) -> None:
    rig = imported(tmp_path, oms_table=WITHOUT)
    set_gift(rig, "For Ana", card="Blue")
    rig.poll(60)
    set_gift(rig, "For Ana", card="Red")
    rig.poll(60)
    assert rig.attention() == [ADDRESS], "the OMS may have been told of the other card"
    for number in range(5):
        set_gift(rig, f"Score {number}", card="Red")
        rig.poll(60)
        assert rig.attention() == [ADDRESS]
    assert len(rig.row().facts.other_values) <= 4, "two values of each field"
    case = Case(rig.row().attention[0], rig.row().facts, rig.policies["alpha"])
    assert "now again as the OMS got it: custom fields" in cause_of_order(case)
    decide(rig, *BY_PERSON)
    set_gift(rig, "Score 5", card="Red")
    rig.poll(60)
    assert rig.attention() == []
    assert is_what_its_journal_adds_up_to(rig)


def test_an_order_that_somebody_else_imported_counts_by_the_settings_of_now(tmp_path: Path) -> None:
    """What that import left out is not known."""
    rig = Rig(tmp_path, oms_table=WITHOUT)
    rig.switch(paused=("import",))
    add(rig)
    tell(rig, 4)
    assert (rig.state(), rig.attention()) == ("imported", [])
    for settings in (NO, WITHOUT):
        start_again(rig, oms_table=settings)
        rig.poll(90_000)
        assert rig.attention() == []
    set_gift(rig, "For Bob", card="Red")
    rig.poll(60)
    assert rig.attention() == []
    set_gift(rig, "For Bob", card="Blue")
    rig.poll(60)
    assert shown(rig, WITHOUT) == [("card", "Red", "Blue")]


# -- Amounts with or without tax -----------------------------------------------------------------------------------


@pytest.mark.parametrize("modes", [("TAX_INCLUDED", "TAX_EXCLUDED"), ("TAX_EXCLUDED", "TAX_INCLUDED")])
def test_a_price_that_changes_in_the_other_tax_mode_is_told(tmp_path: Path, modes: tuple[str, str]) -> None:
    rig = imported(tmp_path, {"order_tax_mode": modes[0]})
    start_again(rig, {"order_tax_mode": modes[1]})
    rig.poll(90_000)
    assert rig.attention() == []
    line = rig.mirakl["alpha"].order("1-A")["order_lines"][0]
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", price=line["price"] + 5, price_unit=line["price_unit"] + 5)
    rig.poll(60)
    assert details(rig)[ADDRESS].startswith("prices ")
    decide(rig, *BY_PERSON)
    assert rig.attention() == []


# -- Stores of an earlier version ----------------------------------------------------------------------------------


def by_an_earlier_version(text: str) -> str:
    """The facts as a version left them whose digests of custom fields were of the fields that the settings carried."""
    text = re.sub(r',?\["fields left out","[^"]*"\]', "", text)
    return re.sub(r"2_:[0-9a-f-]*", lambda found: sha256(found[0].encode()).hexdigest()[:8], text)


@pytest.mark.parametrize("after", [NO, WITHOUT], ids=["as before", "fields are left out"])
def test_an_order_that_an_earlier_version_imported_comes_to_the_list_if_a_field_changes(
    tmp_path: Path, after: Mapping[str, Any]
) -> None:
    rig = imported(tmp_path)
    stored(rig, by_an_earlier_version)
    assert "2_:" not in str(rig.row().facts)
    start_again(rig, oms_table=after)
    rig.poll(90_000)
    assert rig.attention() == []
    for card in ("Blue", "Green"):
        set_gift(rig, "For Ana", card=card)
        rig.poll(60)
        assert details(rig)[ADDRESS].startswith("custom fields 2_:")
        decide(rig, *BY_PERSON)
        rig.poll(90_000)
        assert rig.attention() == []
    set_gift(rig, "For Bob", card="Green")
    rig.poll(60)
    assert rig.attention() == ([] if after else [ADDRESS])
    assert differences(rig.row(), rig.journal()) == []


@pytest.mark.parametrize("cards", [["Blue"], ["Blue", "Red"], ["Green", "Blue", "Red"]], ids=" ".join)
def test_a_field_that_changed_under_an_earlier_version_stays_told_and_is_not_said_to_be_back(
    tmp_path: Path, cards: list[str]
) -> None:
    """The OMS got the field as a digest by the formula of the earlier version. The first read by this version has one
    by another formula, and these two do not tell whether the OMS has what Mirakl shows."""
    rig = imported(tmp_path)
    for card in cards:
        set_gift(rig, "For Ana", card=card)
        rig.poll(60)
    assert rig.attention() == [ADDRESS]
    stored(rig, by_an_earlier_version)
    start_again(rig)
    for _ in range(2):
        rig.poll(90_000)
        assert details(rig)[ADDRESS].startswith("custom fields 2_:")
        case = Case(rig.row().attention[0], rig.row().facts, rig.policies["alpha"])
        assert "changed: custom fields;" in cause_of_order(case)
    assert differences(rig.row(), rig.journal()) == []
    decide(rig, *BY_PERSON)
    rig.poll(90_000)
    assert rig.attention() == []
