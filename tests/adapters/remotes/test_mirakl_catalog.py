"""The catalog of a marketplace: read once a day, in parts, beside the calls that wait for it."""

import threading
from typing import Any

import httpx
import pytest

from adapters.errors import AccountFault, Rejected, RemoteError, Retryable
from adapters.ports import Carrier, Catalog
from adapters.remotes.beside import Beside
from statemachine.facts import Tracking
from tests.adapters.remotes.mirakl_world import World, answering, error_of
from tests.support import LONG, wait

CATALOG_BODIES: dict[str, Any] = {
    "/api/shipping/carriers": {
        "carriers": [{"code": "DPD", "label": "DPD UK", "tracking_url": "https://t/{trackingId}"}, {"code": "V"}, {}]
    },
    "/api/shipping/types": {"shipping_types": [{"code": "EXP", "mandatory_tracking": True}, {"code": "STD"}]},
    "/api/platform/configuration": {"features": {"disable_seller_alternative_carrier": True}},
}


def test_the_catalog_is_read_once_a_day() -> None:
    world = World(lambda request: httpx.Response(200, json=CATALOG_BODIES[request.url.path]))
    expected = Catalog((Carrier("DPD", "DPD UK", True), Carrier("V", "", False)), frozenset({"EXP"}), False)
    assert world.shop.catalog() == expected
    world.clock.seconds = 24 * 3600 - 1
    assert world.shop.catalog() == expected
    assert len(world.sent) == 3
    world.clock.seconds += 1
    world.shop.catalog()
    assert len(world.sent) == 6


@pytest.mark.parametrize("status", [403, 404])
def test_without_pc01_any_carrier_may_be_named(status: int) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        forbidden = request.url.path == "/api/platform/configuration"
        return httpx.Response(status) if forbidden else httpx.Response(200, json=CATALOG_BODIES[request.url.path])

    assert World(answer).shop.catalog().alternative_carriers


# A read of the catalog makes three requests: SH21, SH12, PC01. Only what could not be read is read again.
@pytest.mark.parametrize(("status", "requests"), [(500, 4), (404, 4), (403, 3)])
def test_a_catalog_without_pc01_is_read_again_after_ten_minutes_unless_the_key_lacks_the_role(
    status: int, requests: int
) -> None:
    failing = {"/api/platform/configuration"}

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        return httpx.Response(status) if path in failing else httpx.Response(200, json=CATALOG_BODIES[path])

    world = World(answer)
    assert world.shop.catalog().alternative_carriers
    failing.clear()
    world.clock.seconds += 600
    assert world.shop.catalog().alternative_carriers is (status == 403)
    assert len(world.sent) == requests


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_catalog_that_cannot_be_read_costs_the_carriers_code_and_is_asked_for_again(status: int) -> None:
    world = answering(status)
    unread = {"SH21", "SH12"} if status == 403 else {"SH21", "SH12", "PC01"}
    assert world.shop.catalog() == Catalog(unread=frozenset(unread))
    assert len(world.sent) == 3
    world.shop.catalog()
    assert len(world.sent) == 3
    world.clock.seconds += 600
    world.shop.catalog()
    assert len(world.sent) == 3 + len(unread)


def test_while_one_thread_reads_a_catalog_that_hangs_the_others_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """All workers waited one after the other, 20 s each, and then /live failed."""
    monkeypatch.setattr("adapters.remotes.mirakl.CATALOG_WAIT_SECONDS", 0.01)
    begun, ends = threading.Event(), threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        begun.set()
        ends.wait(LONG)
        raise httpx.ReadTimeout("")

    world = World(answer)
    reads = threading.Thread(target=world.shop.catalog)
    reads.start()
    assert begun.wait(LONG)
    assert world.shop.catalog() == Catalog(unread=frozenset({"SH21", "SH12", "PC01"}))
    ends.set()
    reads.join(LONG)
    assert [request.url.path for request in world.sent] == ["/api/shipping/carriers"], "one time-out, not three"
    world.shop.catalog()
    assert len(world.sent) == 1, "a failure is remembered"
    world.clock.seconds += 600
    world.shop.catalog()
    assert len(world.sent) == 2


def test_no_caller_waits_for_a_read_of_the_catalog_but_the_first_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads that read it hold the leases of commands."""
    monkeypatch.setattr("adapters.remotes.mirakl.CATALOG_WAIT_SECONDS", LONG)
    ends, hangs = threading.Event(), threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        if hangs.is_set():
            ends.wait(LONG)
            raise httpx.ReadTimeout("")
        return httpx.Response(200, json=CATALOG_BODIES[request.url.path])

    world = World(answer, beside=Beside("catalog"))
    expected = world.shop.catalog()
    assert expected.carriers
    hangs.set()
    world.clock.seconds += 24 * 3600
    assert [world.shop.catalog() for _ in range(3)] == [expected] * 3, "old values, while a thread hangs in the read"
    ends.set()
    wait(lambda: len(world.calls) == 4, "the read ends")
    assert world.shop.catalog() == expected


def test_reads_of_many_catalogs_take_two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.remotes.mirakl.CATALOG_WAIT_SECONDS", 0.01)
    begun, ends = threading.Semaphore(0), threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        begun.release()
        ends.wait(LONG)
        raise httpx.ReadTimeout("")

    beside = Beside("catalog-of-many")
    worlds = [World(answer, beside=beside) for _ in range(5)]
    for world in worlds:
        assert world.shop.catalog().unread
    assert all(begun.acquire(timeout=LONG) for _ in range(2))
    assert sum(one.name.startswith("catalog-of-many") for one in threading.enumerate()) == 2
    assert sum(len(world.sent) for world in worlds) == 2
    ends.set()
    wait(lambda: all(len(world.sent) == 1 for world in worlds), "each is read")


def test_a_task_that_fails_ends_no_thread() -> None:
    done = threading.Event()

    def fails() -> None:
        raise ZeroDivisionError

    beside = Beside("failing", threads=1)
    beside(fails)
    beside(done.set)
    assert done.wait(LONG)


def test_a_part_of_the_catalog_that_cannot_be_read_again_is_used_as_it_was_read() -> None:
    failing: set[str] = set()

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        return httpx.Response(500) if path in failing else httpx.Response(200, json=CATALOG_BODIES[path])

    world = World(answer)
    expected = world.shop.catalog()
    failing |= CATALOG_BODIES.keys()
    world.clock.seconds += 24 * 3600
    assert world.shop.catalog() == expected
    assert len(world.sent) == 6


def test_carriers_that_could_not_be_read_refuse_no_tracking() -> None:
    """Without free text the carrier needs its code, and nobody knows the code."""
    world = answering(204)
    unknown = Catalog(alternative_carriers=False, unread=frozenset({"SH21"}))
    error = error_of(lambda: world.shop.send_tracking("A", Tracking("Yodel", "1"), unknown))
    assert isinstance(error, Retryable)
    assert (error.operation, error.outcome, error.code) == ("SH21", "not_sent", "NOT_READ")
    assert not world.sent


@pytest.mark.parametrize(("unread", "kind"), [({"SH21"}, Retryable), ({"SH12"}, Rejected), (set(), Rejected)])
def test_a_tracking_refused_while_the_carriers_are_not_known_is_tried_again(
    unread: set[str], kind: type[RemoteError]
) -> None:
    refusing = answering(400, '{"errors": [{"code": "CARRIER_CODE_REQUIRED", "message": "no"}]}')
    catalog = Catalog(unread=frozenset(unread))
    error = error_of(lambda: refusing.shop.send_tracking("A", Tracking("Yodel", "1"), catalog))
    assert type(error) is kind
    assert (error.status, error.code) == (400, "CARRIER_CODE_REQUIRED")


def test_a_401_for_the_catalog_concerns_the_whole_account() -> None:
    assert isinstance(error_of(answering(401).shop.catalog), AccountFault)
