"""A line has a `shipped_date` while Mirakl shows it still to be sent: its goods may have left before."""

from adapters.simulators.mirakl import changes
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, details, explained, tell


def date(rig: Rig, line: str = "1-A-1", when: str | None = "2026-03-01T11:00:00Z", **more: str) -> None:
    rig.clock.advance(60)
    changes.set_line(rig.mirakl["alpha"], "1-A", line, shipped_date=when, **more)
    rig.poll()


def test_a_line_that_mirakl_says_was_shipped_is_not_made_again(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING", lines=2)
    date(rig)
    rig.work()
    assert (rig.effects(), details(rig)) == ([], {"line_shipped_before": "1-A-1"})
    found = explained(rig)
    assert "with a shipped_date: 1-A-1" in found.attention[0].cause


def test_a_release_imports_it_and_it_is_not_told_again_after_the_import(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING", lines=2)
    date(rig)
    decide(rig, DecisionKind.RELEASE)
    rig.work()
    rig.poll(600)
    assert [one.items for one in rig.row().facts.handovers] == [(("1-A-1", 1), ("1-A-2", 1))]
    assert rig.attention() == []


def test_a_release_does_not_cover_a_date_that_comes_later(rig: Rig) -> None:
    rig.switch(paused=("import",))
    rig.add("1-A", state="SHIPPING", lines=2)
    date(rig)
    decide(rig, DecisionKind.RELEASE)
    date(rig, "1-A-2")
    rig.switch()
    rig.work()
    assert (rig.effects(), details(rig)) == ([], {"line_shipped_before": "1-A-2"})
    date(rig, when=None)
    date(rig)
    assert details(rig) == {"line_shipped_before": "1-A-1, 1-A-2"}


def test_the_rest_is_imported_when_mirakl_shows_the_line_shipped(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING", lines=2)
    date(rig)
    date(rig, order_line_state="SHIPPED")
    rig.work()
    assert [one.items for one in rig.row().facts.handovers] == [(("1-A-2", 1),)]
    assert rig.attention() == []


def test_one_release_is_enough_for_an_order_that_was_shown_shipped_before(rig: Rig) -> None:
    rig.switch(paused=("import",))
    rig.add("1-A", state="SHIPPING")
    changes.set_fields(rig.mirakl["alpha"], "1-A", order_state="SHIPPED")
    date(rig, order_line_state="SHIPPED")
    changes.set_fields(rig.mirakl["alpha"], "1-A", order_state="SHIPPING")
    date(rig, order_line_state="SHIPPING")
    assert rig.attention() == ["shipped_before"]
    decide(rig, DecisionKind.RELEASE)
    assert rig.attention() == []
    date(rig, when=None)
    date(rig)
    assert rig.attention() == ["line_shipped_before"]


def test_a_date_that_comes_after_the_import_is_shown_until_a_settle(rig: Rig) -> None:
    rig.imported(lines=2)
    date(rig)
    assert details(rig) == {"shipped_elsewhere": "1-A-1"}
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    date(rig, when=None)
    assert list(details(rig)) == ["go_on_in_oms"]
    date(rig)
    assert details(rig) == {"shipped_elsewhere": "1-A-1"}
    tell(rig, 8)
    assert "shipped" in rig.effects()


def test_a_line_that_was_marked_shipped_in_error_goes_on_in_the_oms(rig: Rig) -> None:
    rig.imported(lines=2)
    date(rig, order_line_state="SHIPPED")
    decide(rig, DecisionKind.SETTLE)
    date(rig, when=None, order_line_state="SHIPPING")
    assert details(rig)["go_on_in_oms"].startswith("shipped: 1-A-1 until ")
