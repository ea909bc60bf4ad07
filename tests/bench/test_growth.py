"""The benchmark of a store that grew."""

import pytest

from adapters.engines.postgres import postgres_missing
from tests.bench import growth
from tests.bench.hot import HOT
from tests.engines import needs


@pytest.mark.minutes
def test_a_store_of_2000_orders_is_filled_measured_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    needs(postgres_missing())
    monkeypatch.setattr(growth, "ROUNDS", 1)
    monkeypatch.setattr(growth, "VERIFY_SECONDS", 600)
    found = growth.measure(2_000, lambda _: None)
    assert [one.name for one in found.compared] == list(HOT)
    assert found.verified[0] >= 2_000, "every order was verified"
    assert found.verified[2] < 300, "MB"
    assert growth.table(found).row_count == len(HOT)
