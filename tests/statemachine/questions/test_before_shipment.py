"""The newest read before the shipment is known, in any order of the reads, and costs nothing while it is the newest."""

from dataclasses import replace
from functools import reduce

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.store.facts_json import facts_from_json, facts_to_json
from statemachine.facts import (
    AFTER_SHIPPING,
    DEBIT,
    EPOCH,
    PAY_ON_ACCEPTANCE,
    PAY_ON_DUE_DATE,
    PAY_ON_SHIPMENT,
    Facts,
    Line,
    Snapshot,
    age_of,
)
from statemachine.joining import join, snapshot_facts
from statemachine.questions.before_shipment import (
    contents_of,
    is_before_shipment,
    is_underway,
    newest_to_send,
    newest_underway,
    oldest_shipped,
)
from statemachine.questions.compared import compared
from statemachine.reads_kept import LastOpen
from tests.statemachine.lives import LINES, at, read

CONTENTS = (
    (),
    (("prices", "0a"), ("shipping address", "a1")),
    (("prices", "0b"), ("shipping address", "a1")),
    (("messages", "0c"), ("prices", "0a"), ("shipping address", "a2")),
)
FEWER = (replace(LINES[0], quantity=1), LINES[1])
SHIPPED = tuple(replace(line, shipped=True) for line in LINES)


@st.composite
def reads(draw: st.DrawFn) -> Snapshot:
    return read(
        draw(st.sampled_from(("WAITING_ACCEPTANCE", "WAITING_DEBIT", "SHIPPING", "SHIPPED", "CLOSED", "CANCELED"))),
        draw(st.sampled_from((PAY_ON_SHIPMENT, PAY_ON_DUE_DATE))),
        updated=draw(st.integers(0, 5)),
        began=draw(st.integers(0, 9)),
        lines=draw(st.sampled_from((LINES, SHIPPED, LINES[:1], FEWER))),
        contents=draw(st.sampled_from(CONTENTS)),
    )


def known(*reads: Snapshot) -> Facts:
    return reduce(join, map(snapshot_facts, reads), Facts())


def shows_shipment(one: Snapshot) -> bool:
    return one.state in AFTER_SHIPPING or (one.state in DEBIT and any(line.shipped for line in one.lines))


@settings(max_examples=300, deadline=None)
@given(st.lists(reads(), min_size=1, max_size=6), st.randoms(), st.integers(0, 6))
def test_the_oldest_read_after_the_shipment_is_known(several, random, cut) -> None:  # type: ignore[no-untyped-def]
    facts = known(*several)
    first = min(filter(shows_shipment, several), key=age_of, default=None)
    goes_to = tuple(one for one in first.contents if one[0] == "shipping address") if first else ()
    assert oldest_shipped(facts) == (first and LastOpen(*age_of(first), goes_to))
    assert facts.snapshot is not None
    if first and age_of(first) == age_of(facts.snapshot):
        assert facts.first_shipped is None, "it is kept only while it is not the newest read"
    random.shuffle(several)
    assert known(*several, several[0]) == facts
    assert join(known(*several[:cut]), known(*several[cut:])) == facts
    assert facts_from_json(facts_to_json(facts)) == facts


@settings(max_examples=300, deadline=None)
@given(st.lists(reads(), min_size=1, max_size=6), st.randoms(), st.integers(0, 6))
def test_the_newest_read_that_shows_the_order_under_way_is_known(several, random, cut) -> None:  # type: ignore[no-untyped-def]
    facts = known(*several)
    earlier = [one for one in several if one.state == "SHIPPED"]
    last = max(earlier, key=age_of, default=None)
    assert newest_underway(facts) == (last and LastOpen(*age_of(last), contents_of(last)))
    assert facts.last_underway is None or facts.snapshot not in earlier, "it is kept only while the newest tells less"
    random.shuffle(several)
    assert known(*several, several[0]) == facts
    assert join(known(*several[:cut]), known(*several[cut:])) == facts
    assert facts_from_json(facts_to_json(facts)) == facts


def test_a_read_whose_data_mirakl_may_have_removed_does_not_show_the_order_under_way() -> None:
    day = 86400
    first = read("SHIPPED", updated=1, began=14 * day)
    late = read("SHIPPED", updated=2, began=14 * day + 1)
    assert is_underway(first)
    assert not is_underway(late)
    assert is_underway(replace(late, ship_by=at(day)))
    assert not is_underway(replace(first, has_address=False))
    facts = known(first, late)
    assert newest_underway(facts) == LastOpen(*age_of(first), contents_of(first))


@settings(max_examples=300, deadline=None)
@given(st.lists(reads(), min_size=1, max_size=6), st.randoms(), st.integers(0, 6))
def test_the_newest_read_before_the_shipment_is_known(several, random, cut) -> None:  # type: ignore[no-untyped-def]
    facts = known(*several)
    earlier = [one for one in several if is_before_shipment(one)]
    last = max(earlier, key=age_of, default=None)
    assert compared(facts) == (last and LastOpen(*age_of(last), contents_of(last)))
    assert facts.snapshot is not None
    assert facts.last_open is None or facts.snapshot not in earlier, "it is kept only while the newest read tells less"
    random.shuffle(several)
    assert known(*several, several[0]) == facts
    assert join(known(*several[:cut]), known(*several[cut:])) == facts
    assert facts_from_json(facts_to_json(facts)) == facts


def test_an_order_that_never_changed_keeps_no_other_value() -> None:
    waiting = read("WAITING_ACCEPTANCE", contents=CONTENTS[2])
    first, again, shipped = (
        read(state, updated=n, contents=CONTENTS[1]) for n, state in ((1, "SHIPPING"), (2, "SHIPPING"), (3, "SHIPPED"))
    )
    assert known(waiting, first, again, shipped).other_values == ()


def test_of_each_value_the_newest_two_are_known() -> None:
    several = [read("SHIPPING", updated=n, began=n, contents=(("prices", f"{n % 4}"),)) for n in range(7)]
    facts = known(*several)
    assert [(one.name, one.value, one.read_at) for one in facts.other_values] == [("prices", "1", at(5))]


def test_contents_that_the_newest_read_still_shows_are_not_stored_twice() -> None:
    first = read("SHIPPING", updated=1, contents=CONTENTS[1])
    same, other = (read("SHIPPED", updated=2, contents=contents) for contents in (CONTENTS[1], CONTENTS[2]))
    kept = known(first, same).last_open, known(first, other).last_open
    assert [one and one.contents for one in kept] == [(), (("prices", "0a"),)]


def test_of_an_order_that_an_earlier_version_stored_as_shipped_no_earlier_read_is_kept() -> None:
    """So the journal of such an order adds up to its row, and no old order is compared."""
    first, shipped, closed = (read(state, updated=n) for n, state in enumerate(("SHIPPING", "SHIPPED", "CLOSED")))
    row = join(snapshot_facts(first), replace(snapshot_facts(shipped), snapshot=shipped))
    assert row.last_open is None
    assert compared(join(row, snapshot_facts(closed))) is None


def test_a_read_that_an_earlier_version_stored_before_the_shipment_is_kept_at_the_shipment() -> None:
    before = Facts(snapshot=read("SHIPPING", updated=1, contents=CONTENTS[1]))
    found = compared(join(before, snapshot_facts(read("SHIPPED", updated=2))))
    assert found is not None
    assert found.contents == contents_of(read("SHIPPING", contents=CONTENTS[1]))


def test_a_debit_of_what_was_shipped_is_not_before_the_shipment() -> None:
    line = Line("L1", "", "MUG", 1)
    debit = read("WAITING_DEBIT", PAY_ON_SHIPMENT, lines=(line,), accepted_at=EPOCH)
    assert is_before_shipment(debit)
    assert not is_before_shipment(replace(debit, lines=(replace(line, shipped=True),)))
    assert not is_before_shipment(replace(debit, workflow=PAY_ON_DUE_DATE)), "that debit may come weeks later"


def test_a_debit_after_the_last_read_that_shows_it_to_be_sent_is_not_the_newest_of_these() -> None:
    states = ("WAITING_DEBIT", "SHIPPING", "WAITING_DEBIT", "WAITING_DEBIT_PAYMENT", "SHIPPED")
    several = [read(state, PAY_ON_SHIPMENT, updated=n) for n, state in enumerate(states)]
    found = [newest_to_send(known(*several[: n + 1])) for n in range(len(several))]
    assert [one and one.updated_at for one in found] == [at(0), at(1), at(1), at(1), at(1)]
    first = [replace(one, workflow=PAY_ON_ACCEPTANCE) for one in several[1:3]]
    last = newest_to_send(known(*first))
    assert last is not None
    assert last.updated_at == at(2), "the payment is awaited again"


def test_of_reads_that_an_earlier_version_stored_no_further_reads_are_kept() -> None:
    """The row of their order, which that version joined, has none. So the journal must not add up to some."""
    stopped = tuple(replace(line, state="INCIDENT_OPEN") for line in LINES)
    each = [read("SHIPPING", updated=1, lines=stopped), *(read(state, updated=at) for state, at in LATER)]
    now = [snapshot_facts(one) for one in each]
    before = [replace(one, snapshot=replace(one.snapshot, is_remembered=False)) for one in now if one.snapshot]
    kept = [reduce(join, several) for several in (now, before)]
    assert [(bool(one.stops_read), one.first_shipped is not None) for one in kept] == [(True, True), (False, False)]


LATER = (("SHIPPING", 2), ("SHIPPED", 3), ("RECEIVED", 4))
