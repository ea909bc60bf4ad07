"""Orders that Mirakl does not show any more."""

from datetime import datetime, timedelta

import pytest

from statemachine.commands import CommandKind, Policy
from statemachine.events import Event
from statemachine.facts import EPOCH
from statemachine.plan import plan, read_after
from statemachine.questions.missing import is_next_miss
from tests.statemachine.lives import answered, at, not_found, read, settled, snapshot_event, spoke
from tests.statemachine.planning import known

DAY = 86_400
POLICY = Policy(gone_after=timedelta(days=1))
IMPORTED = (snapshot_event(read("SHIPPING")), answered(CommandKind.IMPORT))


def reasons(*events: Event) -> list[str]:
    return [one.token for one in plan(known(*events), POLICY).attention]


def due(*events: Event) -> datetime | None:
    return read_after(known(*events), POLICY)


def is_news(when: float, *events: Event) -> bool:
    return is_next_miss(known(*events), POLICY, at(when))


def test_an_order_that_two_reads_a_day_apart_do_not_show_is_gone_and_no_call_is_made() -> None:
    assert reasons(*IMPORTED, not_found(DAY)) == []
    gone = (*IMPORTED, not_found(DAY), not_found(2 * DAY))
    assert reasons(*gone) == ["gone_from_mirakl:since 2026-03-02 00:00"]
    to_import = (IMPORTED[0], not_found(DAY), not_found(2 * DAY))
    assert plan(known(*to_import), POLICY).due == ()
    assert [one.kind for one in plan(known(*to_import[:2]), POLICY).due] == [CommandKind.IMPORT]


def test_two_reads_less_than_a_day_apart_are_not_enough() -> None:
    assert reasons(*IMPORTED, not_found(DAY), not_found(2 * DAY - 1)) == []


@pytest.mark.parametrize("seen_at", [DAY + 1, 2 * DAY + 1])
def test_a_read_that_shows_the_order_between_or_after_ends_it(seen_at: int) -> None:
    shown = snapshot_event(read("SHIPPING", began=seen_at))
    assert reasons(*IMPORTED, not_found(DAY), not_found(2 * DAY), shown) == []


def test_a_person_settles_one_absence_and_the_next_is_told_again() -> None:
    gone = (*IMPORTED, not_found(DAY), not_found(2 * DAY), settled("gone_from_mirakl:since 2026-03-02 00:00"))
    assert reasons(*gone) == []
    back = snapshot_event(read("SHIPPING", began=3 * DAY))
    assert reasons(*gone, back, not_found(4 * DAY), not_found(5 * DAY)) == ["gone_from_mirakl:since 2026-03-05 00:00"]


def test_an_open_order_is_read_once_a_day_and_a_missed_one_a_day_after_it_was_missed() -> None:
    assert due(*IMPORTED) == at(DAY)
    assert due(*IMPORTED, not_found(DAY + 5)) == at(2 * DAY + 5)
    for state in ("SHIPPED", "CANCELED", "REFUSED"):
        assert due(snapshot_event(read(state))) is None


def test_an_order_of_which_only_an_unknown_state_is_known_is_read_once_a_day_too() -> None:
    assert due(snapshot_event(read("ON_THE_MOON"))) == at(DAY)


def test_only_the_first_miss_and_the_one_that_proves_it_are_kept() -> None:
    assert is_news(DAY, *IMPORTED)
    missed = (*IMPORTED, not_found(DAY))
    assert not is_news(2 * DAY - 1, *missed)
    assert is_news(2 * DAY, *missed)
    assert not is_news(9 * DAY, *missed, not_found(2 * DAY))
    assert not is_news(0, *IMPORTED), "the read that shows the order began no earlier"


def test_an_order_that_mirakl_never_showed_is_not_missed() -> None:
    """The OMS may report on orders that are not this shop's."""
    assert not is_news(DAY, spoke())
    assert reasons(spoke(), not_found(0), not_found(DAY)) == []
    assert due(spoke()) == EPOCH
