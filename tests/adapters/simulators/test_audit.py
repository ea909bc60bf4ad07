"""The audit finds effects that are lost, doubled or not explained by the journal."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from adapters.simulators.audit import JournalSummary, audit
from adapters.simulators.books import Effect
from adapters.simulators.stage import Life
from adapters.simulators.world import make_lives

AT = datetime(2026, 3, 1, tzinfo=UTC)
LIFE = next(life for life in make_lives(100, 1) if life.story == "plain")
BY_HAND = replace(LIFE, accepted_by="person", shipped_by="person")


PIECES = ",".join(f"{line}={pieces}" for line, pieces in LIFE.goods)


def effect(kind: str, by: str = "api", **detail: str) -> Effect:
    place = "oms" if kind == "imported" else LIFE.marketplace
    if kind == "imported":
        detail = {"pieces": PIECES} | detail
    return Effect(AT, place, LIFE.order_id, kind, by, detail)


def journal(state: str = "shipped", *done: str, unknown: tuple[str, ...] = ()) -> dict[tuple[str, str], JournalSummary]:
    return {(LIFE.marketplace, LIFE.order_id): JournalSummary(state, Counter(done), Counter(unknown))}


ALL_DONE = journal("shipped", "accept_order", "import_order", "send_tracking", "confirm_shipment")
TRACKING = effect("tracking", tracking=str(LIFE.last_tracking))
GOOD = (effect("created", "customer"), effect("accepted"), effect("imported"), TRACKING, effect("shipped"))


def findings(life: Life, effects: tuple[Effect, ...], ours: dict[tuple[str, str], JournalSummary]) -> str:
    return "\n".join(audit([life], effects, ours))


def test_books_without_a_mistake_pass() -> None:
    assert findings(LIFE, GOOD, ALL_DONE) == ""


@pytest.mark.parametrize("kind", ["accepted", "imported", "shipped"])
def test_a_lost_effect_is_found(kind: str) -> None:
    assert f"lost: {kind}" in findings(LIFE, tuple(e for e in GOOD if e.kind != kind), ALL_DONE)


@pytest.mark.parametrize("kind", ["accepted", "imported", "shipped"])
def test_a_doubled_effect_is_found(kind: str) -> None:
    assert f"doubled: {kind} 2 times" in findings(LIFE, (*GOOD, effect(kind)), ALL_DONE)


def test_a_line_id_with_a_comma_is_one_line() -> None:
    """Mirakl's ids are free texts, and the books write several in one text."""
    life = replace(LIFE, goods=(("1,A-1", 2), ("1,A-2 (b)", 1)))
    good = tuple(replace(e, detail={"pieces": r"1\,A-1=2,1\,A-2 \(b)=1"}) if e.kind == "imported" else e for e in GOOD)
    assert findings(life, good, ALL_DONE) == ""


def test_an_effect_without_an_entry_in_the_journal_is_found() -> None:
    without_import = journal("shipped", "accept_order", "send_tracking", "confirm_shipment")
    assert "unexplained: import_order" in findings(LIFE, GOOD, without_import)


def test_an_attempt_with_unknown_outcome_explains_one_effect() -> None:
    import_unknown = journal("shipped", "accept_order", "send_tracking", "confirm_shipment", unknown=("import_order",))
    assert findings(LIFE, GOOD, import_unknown) == ""


def test_a_success_in_the_journal_without_an_effect_is_found() -> None:
    by_person = tuple(replace(e, by="person") if e.kind == "accepted" else e for e in GOOD)
    assert "without effect: our journal says that accept_order" in findings(
        replace(LIFE, accepted_by="person"), by_person, ALL_DONE
    )


def test_an_effect_of_our_call_that_a_person_should_have_caused_is_found() -> None:
    assert "not ours to do: shipped 1 times" in findings(BY_HAND, GOOD, ALL_DONE)


def test_an_older_tracking_at_the_end_is_found() -> None:
    late = (*GOOD, effect("tracking", tracking="OLDER"))
    assert "the last tracking is OLDER" in findings(
        LIFE, late, journal("shipped", *ALL_DONE[LIFE.marketplace, LIFE.order_id].done, "send_tracking")
    )


def test_an_order_that_was_never_seen_or_not_finished_is_found() -> None:
    assert "lost: orderflow has never seen it" in findings(LIFE, GOOD, {})
    assert "ended dispatched, should be shipped" in findings(
        LIFE, GOOD, journal("dispatched", *ALL_DONE[LIFE.marketplace, LIFE.order_id].done)
    )


def test_a_line_that_must_not_be_made_is_found() -> None:
    more = f"{PIECES},{LIFE.order_id}-9=1"
    wrong = tuple(replace(e, detail={"pieces": more}) if e.kind == "imported" else e for e in GOOD)
    assert f"goods: the OMS makes 1 pieces of {LIFE.order_id}-9, should be 0" in findings(LIFE, wrong, ALL_DONE)


def test_pieces_that_must_not_be_made_are_found() -> None:
    (line, pieces), *_ = LIFE.goods
    wrong = tuple(replace(e, detail={"pieces": f"{line}={pieces + 1}"}) if e.kind == "imported" else e for e in GOOD)
    assert f"makes {pieces + 1} pieces of {line}, should be {pieces}" in findings(LIFE, wrong, ALL_DONE)


def test_a_line_that_is_not_made_is_found() -> None:
    ((line, pieces),) = LIFE.goods
    none = tuple(replace(e, detail={"pieces": ""}) if e.kind == "imported" else e for e in GOOD)
    assert f"makes 0 pieces of {line}, should be {pieces}" in findings(LIFE, none, ALL_DONE)


def test_an_attribute_that_the_oms_did_not_get_is_found() -> None:
    life = replace(LIFE, attributes=(":Mirakl.gift-text",))
    assert "did not get the attribute :Mirakl.gift-text" in findings(life, GOOD, ALL_DONE)
    with_it = tuple(
        replace(e, detail=e.detail | {"attributes": ":A,:Mirakl.gift-text"}) if e.kind == "imported" else e
        for e in GOOD
    )
    assert findings(life, with_it, ALL_DONE) == ""


def test_a_reason_that_nobody_was_told_is_found() -> None:
    life = replace(LIFE, reasons=("oms_canceled",))
    assert "the attention list never showed: oms_canceled" in findings(life, GOOD, ALL_DONE)
    key = (LIFE.marketplace, LIFE.order_id)
    assert findings(life, GOOD, {key: replace(ALL_DONE[key], listed=frozenset({"oms_canceled"}))}) == ""


def test_an_order_that_waits_for_nobody_is_found() -> None:
    life = replace(LIFE, ends="imported", shipped_by=None)
    made = tuple(e for e in GOOD if e.kind not in ("tracking", "shipped"))
    waits = journal("imported", "accept_order", "import_order")
    assert "waits in imported for nothing, and is on no list" in findings(life, made, waits)
    key = (LIFE.marketplace, LIFE.order_id)
    told = {key: replace(waits[key], attention=frozenset({"held"}))}
    assert findings(life, made, told) == ""


def test_an_order_without_a_life_is_found() -> None:
    stranger = replace(effect("imported"), order_id="STRANGER-1")
    assert "STRANGER-1: is in the books" in findings(LIFE, (*GOOD, stranger), ALL_DONE)
