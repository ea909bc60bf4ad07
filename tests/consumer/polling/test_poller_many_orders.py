"""A listing of very many small orders: what a poller keeps of it has a bound."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from adapters.ports import NewRecord, OrdersPage, OrdersQuery
from consumer.polling import poll_memory
from consumer.polling import poller as poller_module
from consumer.polling.poll_memory import ReadBefore
from tests.consumer.polling.polling import Watched
from tests.consumer.rig import Rig

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Liar(Watched):
    """Pages of 1,000 orders of 28 bytes, without an end."""

    def orders(self, query: OrdersQuery, offset: int) -> OrdersPage:
        body = b",".join(b'{"order_id":"%d-A"}' % (1_000_000_000 + number) for number in range(offset, offset + 1_000))
        return OrdersPage(b'{"orders":[' + body + b'],"total_count":999999999}', NOW, None)


class Nothing:
    def publish(self, records: Sequence[NewRecord]) -> None: ...


def test_a_listing_of_very_many_orders_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """5,000 pages of 1,000 orders were within every bound, and their ids took gigabytes."""
    monkeypatch.setattr(poller_module, "MAX_ORDERS", 3_000)
    rig = Rig(tmp_path)
    with capture_logs() as lines:
        result = rig.new_poller(mirakl=Liar(rig), writer=Nothing()).run()
    assert (result.complete, len(result.seen) <= 4_000) == (False, True)
    assert any(line["event"] == "listing_never_ends" for line in lines)


def test_of_very_many_orders_only_some_are_remembered_and_the_rest_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(poll_memory, "MOST", 2)
    read_before, parsed = ReadBefore(), list[bytes]()

    def parse(raw: bytes) -> tuple[str, str]:
        parsed.append(raw)
        return raw.decode(), ""

    for _ in range(2):
        read_before.begin_run()
        assert [read_before.find(raw, parse)[0] for raw in (b"1", b"2", b"3")] == ["1", "2", "3"]
    assert parsed == [b"1", b"2", b"3", b"3"]
