"""Which reads of an order stay in the store as Mirakl showed them: those on which something rests."""

from collections.abc import Collection
from dataclasses import replace

from hypothesis import given, settings

from statemachine.commands import CommandKind
from statemachine.events import Event, Trigger
from statemachine.facts import Attempt, Facts, Handover
from statemachine.joining import join, snapshot_facts
from statemachine.questions.surplus_reads import surplus_reads
from tests.statemachine.lives import clock, event, read, sent, settled, snapshot_event
from tests.statemachine.test_confluence import histories


def kept(*events: Event) -> list[str]:
    """The states that the kept reads show. The digest of a read begins with its state."""
    return sorted(digest.partition("/")[0] for digest in kept_digests(events))


def kept_digests(events: Collection[Event]) -> set[str]:
    shown = {digest for one in events for digest in _read(one.new_facts)}
    surplus = surplus_reads((one.trigger, one.new_facts) for one in events)
    assert surplus <= shown
    return shown - surplus


def shows(state: str, updated: float) -> Event:
    return snapshot_event(read(state, updated=updated))


def claimed(kind: str) -> Event:
    return event(Trigger.CALL, f"claim {kind}", Facts())


def confirmed() -> Event:
    return event(Trigger.CALL, "claim ship", Facts(attempts=(Attempt(CommandKind.CONFIRM, ""),)))


def test_without_a_read_nothing_is_kept() -> None:
    assert kept() == kept(sent()) == []


def test_of_reads_alone_the_newest_is_kept_whichever_came_last() -> None:
    early, late = shows("STAGING", 1), shows("WAITING_ACCEPTANCE", 2)
    assert kept(early, late) == kept(late, early) == ["WAITING_ACCEPTANCE"]


def test_the_read_that_was_the_newest_at_a_call_a_report_and_a_decision_is_kept() -> None:
    for what in (claimed("accept_order"), sent(), settled("shipped_elsewhere:")):
        assert kept(shows("STAGING", 1), shows("WAITING_ACCEPTANCE", 2), what, shows("CLOSED", 9)) == [
            "CLOSED",
            "WAITING_ACCEPTANCE",
        ]


def test_a_read_that_came_late_was_not_the_newest() -> None:
    assert kept(shows("RECEIVED", 5), shows("SHIPPED", 4), sent(), shows("CLOSED", 9)) == ["CLOSED", "RECEIVED"]


def test_nothing_rests_on_the_time() -> None:
    assert kept(shows("STAGING", 1), clock(5), shows("WAITING_ACCEPTANCE", 9)) == ["WAITING_ACCEPTANCE"]


def test_a_read_with_a_state_that_we_do_not_know_is_kept_beside_the_one_that_the_rules_use() -> None:
    odd = snapshot_facts(read("SHIPPED", updated=5))
    assert odd.snapshot is not None
    unknown = event(
        Trigger.SNAPSHOT, "odd", Facts(unknown=replace(odd.snapshot, state="NEW_WORD", digest="NEW_WORD/1"))
    )
    assert kept(shows("SHIPPED", 4), unknown, sent(), shows("CLOSED", 9)) == ["CLOSED", "NEW_WORD", "SHIPPED"]


def test_the_read_of_the_baseline_is_kept() -> None:
    """If somebody else brought the order into the OMS, nothing else shows what that person sent."""
    assert kept(shows("WAITING_ACCEPTANCE", 1), shows("SHIPPING", 2), shows("SHIPPED", 3), shows("CLOSED", 4)) == [
        "CLOSED",
        "SHIPPING",
    ]


def test_the_first_read_after_the_shipment_is_kept_if_it_shows_that_the_parcel_goes_elsewhere() -> None:
    def with_address(state: str, updated: float, address: str) -> Event:
        return snapshot_event(read(state, updated=updated, contents=(("shipping address", address),)))

    ends = [with_address("RECEIVED", 4, "a2"), with_address("CLOSED", 5, "a2")]
    for address, also in (("a0", []), ("a1", ["SHIPPED"])):
        events = [with_address("SHIPPING", 2, "a0"), with_address("SHIPPED", 3, address), *ends]
        assert kept(*events) == kept(*reversed(events)) == ["CLOSED", *also, "SHIPPING"]


def test_the_newest_read_under_way_is_kept_if_it_shows_other_contents_and_or24_was_not_ours() -> None:
    def with_address(state: str, updated: float, address: str) -> Event:
        return snapshot_event(read(state, updated=updated, contents=(("shipping address", address),)))

    for address, call, also in (("a1", [], ["SHIPPED"]), ("a0", [], []), ("a1", [confirmed()], [])):
        marked = [with_address("SHIPPING", 2, "a0"), *call, with_address("SHIPPED", 3, "a0")]
        events = [*marked, with_address("SHIPPED", 4, address), with_address("CLOSED", 5, "a2")]
        assert kept(*events) == ["CLOSED", *also, "SHIPPING"]


@settings(max_examples=150, deadline=None)
@given(histories())
def test_each_read_that_the_facts_rest_on_at_an_event_that_is_no_read_is_kept(
    history: tuple[list[Event], list[Event]],
) -> None:
    for events in history:
        found = kept_digests(events)
        facts, baselines = Facts(), list[tuple[Handover, str]]()
        for one in events:
            if one.trigger in (Trigger.CALL, Trigger.OMS_EVENT, Trigger.DECISION):
                assert _read(facts) <= found
            facts = join(facts, one.new_facts)
            if one.new_facts.snapshot and one.new_facts.baseline:
                baselines.append((one.new_facts.baseline, one.new_facts.snapshot.digest))
        assert _read(facts) <= found
        assert facts.baseline is None or any(
            digest in found for baseline, digest in baselines if baseline == facts.baseline
        )


def _read(facts: Facts) -> set[str]:
    """The digests of the reads that the rules use, and that people are shown."""
    return {one.digest for one in (facts.snapshot, facts.unknown, facts.newest) if one is not None}
