"""Orders that the version 02993fc took for shipped because of a debit alone (docs/rules.md 3).

PAY_ON_DELIVERY and PAY_ON_DUE_DATE may debit before the shipment. The store was written by version
02993fc; see tests/data/README.md.
"""

import gzip
import sqlite3
from pathlib import Path

import pytest

from consumer.bootstrap import new_housekeeping
from tests.consumer.rig import Rig

DATA = Path(__file__).resolve().parents[1] / "data/early-debit-02993fc.sqlite.sql.gz"
DAY = 86_400


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """A service on the store of the version before, a day later."""
    database = sqlite3.connect(tmp_path / "orderflow.db")
    database.executescript(gzip.decompress(DATA.read_bytes()).decode())
    database.execute("UPDATE shops SET endpoint = 'https://alpha.example'")  # the address of the rig's simulator
    database.commit()
    database.close()
    rig = Rig(tmp_path)
    rig.clock.advance(DAY)
    rig.switch(effects=True)
    new_housekeeping(rig.base).turn()
    return rig


def test_the_store_holds_what_these_tests_are_about(rig: Rig) -> None:
    for order_id, shows in (
        ("DEBITED-EARLY", "WAITING_DEBIT"),
        ("DEBITED-THEN-SHIPPING", "SHIPPING"),
        ("SHIPPED-THEN-DEBITED", "WAITING_DEBIT"),
    ):
        row = rig.row(order_id)
        assert row.state == "shipped"
        assert row.facts.shipped_seen
        assert row.facts.snapshot is not None
        assert row.facts.snapshot.state == shows


@pytest.mark.parametrize("order_id", ["DEBITED-EARLY", "DEBITED-THEN-SHIPPING"])
def test_the_next_read_that_shows_shipping_wins_and_the_order_is_imported_and_shipped(rig: Rig, order_id: str) -> None:
    rig.add(order_id, state="SHIPPING", workflow="PAY_ON_DELIVERY")
    rig.poll()
    rig.work()
    assert (rig.state(order_id), rig.attention(order_id)) == ("imported", [])
    rig.oms.dispatch(order_id)
    rig.consume()
    rig.work()
    rig.poll()
    assert rig.state(order_id) == "shipped"
    assert [one for one in rig.effects(order_id) if one in ("imported", "shipped")] == ["imported", "shipped"]


def test_an_order_that_a_read_showed_shipped_stays_so_while_it_is_debited(rig: Rig) -> None:
    rig.add("SHIPPED-THEN-DEBITED", state="WAITING_DEBIT", workflow="PAY_ON_DELIVERY")
    rig.poll()
    rig.work()
    assert rig.state("SHIPPED-THEN-DEBITED") == "shipped"
    assert rig.effects("SHIPPED-THEN-DEBITED") == []
