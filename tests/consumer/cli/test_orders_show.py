"""`orderflow orders show` and `orders explain`: what a person and a program read about one order."""

from pathlib import Path

from tests.consumer.cli.runner import FILE, json_of, output_of
from tests.consumer.operations.desk import Desk
from tests.consumer.rig import Rig


def test_a_reason_that_has_ended_is_shown_with_its_beginning_and_its_end(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    desk.clock.advance(60)
    desk.shows("SHIPPING")
    rows = json_of("orders", "show", "O-1")["timeline"]
    assert [(row["what"], row["begins"], row["ends"]) for row in rows] == [
        ("Mirakl shows WAITING_ACCEPTANCE", ["needs_decision"], []),
        ("Mirakl shows SHIPPING", [], ["needs_decision"]),
    ]
    assert "begins" in output_of("orders", "show", "O-1").split("Timeline")[1].splitlines()[1]
    began, ended = "2026-03-01 12:00:00 UTC (Mirakl shows WAITING_ACCEPTANCE)", "2026-03-01 12:01:00 UTC"
    shown = f"earlier 1            needs_decision, from {began} until {ended} (Mirakl shows SHIPPING)"
    assert shown in output_of("orders", "explain", "O-1").splitlines()
    (earlier,) = json_of("orders", "explain", "O-1")["earlier"]
    assert (earlier["reason"], earlier["ended_with"]) == ("needs_decision", "Mirakl shows SHIPPING")


def test_the_json_of_explain_says_what_a_person_has_to_do_and_until_when(desk: Desk) -> None:
    desk.shows("WAITING_ACCEPTANCE")
    found = json_of("orders", "explain", "O-1")
    assert (found["do"], found["needs_you_since"]) == ("deadline", "2026-03-01T12:00:00+00:00")
    assert (found["deadline"], found["deadline_of"]) == ("2026-03-03T00:00:00+00:00", "accept")
    (reason,) = found["attention"]
    assert reason["commands"] == [
        "orderflow orders accept O-1 --shop alpha --reason WHY",
        "orderflow orders refuse O-1 --shop alpha --reason WHY",
    ]


def test_the_json_of_an_order_that_needs_nobody_says_so(desk: Desk) -> None:
    desk.shows("SHIPPED")
    found = json_of("orders", "explain", "O-1")
    assert [found[name] for name in ("do", "needs_you_since", "deadline", "deadline_of")] == [None] * 4


def test_an_order_has_the_external_ref_of_its_import_also_if_the_prefix_changed_since(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.imported()
    rig.add("2-A", state="SHIPPING")
    rig.poll()
    rig.store.close()
    former = 'external_ref_prefix = "A-"\nformer_external_ref_prefixes = [""]\n'
    text = FILE.replace("[shops.alpha.oms]\n", f"[shops.alpha.oms]\n{former}")
    (tmp_path / "orderflow.toml").write_text(text, encoding="utf-8")
    found = [json_of("orders", name, order)["external_ref"] for name in ("explain", "show") for order in ("1-A", "2-A")]
    assert found == ["1-A", "A-2-A"] * 2
