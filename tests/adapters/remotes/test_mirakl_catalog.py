"""The settings of a marketplace: each read once a day, if a call needs it, beside the calls that wait for it."""

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

CARRIERS, TYPES, PLATFORM = "/api/shipping/carriers", "/api/shipping/types", "/api/platform/configuration"
CATALOG_BODIES: dict[str, Any] = {
    CARRIERS: {
        "carriers": [{"code": "DPD", "label": "DPD UK", "tracking_url": "https://t/{trackingId}"}, {"code": "V"}, {}]
    },
    TYPES: {"shipping_types": [{"code": "EXP", "mandatory_tracking": True}, {"code": "STD"}]},
    PLATFORM: {"features": {"disable_seller_alternative_carrier": True}},
}


def paths(world: World) -> list[str]:
    return [request.url.path for request in world.sent]


def test_the_catalog_is_read_once_a_day() -> None:
    world = World(lambda request: httpx.Response(200, json=CATALOG_BODIES[request.url.path]))
    for seconds in (0, 24 * 3600 - 1):
        world.clock.seconds = seconds
        assert world.shop.catalog() == Catalog((Carrier("DPD", "DPD UK", True), Carrier("V", "", False)), False)
        assert paths(world) == [CARRIERS, PLATFORM]
    world.clock.seconds += 1
    world.shop.catalog()
    assert paths(world) == [CARRIERS, PLATFORM] * 2


def test_the_shipping_types_are_read_once_a_day_and_by_themselves() -> None:
    world = World(lambda request: httpx.Response(200, json=CATALOG_BODIES[request.url.path]))
    for seconds in (0, 24 * 3600 - 1):
        world.clock.seconds = seconds
        assert world.shop.mandatory_tracking() == {"EXP"}
        assert paths(world) == [TYPES]
    world.clock.seconds += 1
    world.shop.mandatory_tracking()
    assert paths(world) == [TYPES] * 2


@pytest.mark.parametrize("status", [403, 404])
def test_without_pc01_any_carrier_may_be_named(status: int) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        forbidden = request.url.path == PLATFORM
        return httpx.Response(status) if forbidden else httpx.Response(200, json=CATALOG_BODIES[request.url.path])

    assert World(answer).shop.catalog().alternative_carriers


# A read of the catalog makes two requests: SH21 and PC01. Only what could not be read is read again.
@pytest.mark.parametrize(("status", "requests"), [(500, 3), (404, 3), (403, 2)])
def test_a_catalog_without_pc01_is_read_again_after_ten_minutes_unless_the_key_lacks_the_role(
    status: int, requests: int
) -> None:
    failing = {PLATFORM}

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
    for _ in range(2):
        assert world.shop.catalog() == Catalog(carriers=None)
        assert world.shop.mandatory_tracking() == frozenset()
        assert paths(world) == [CARRIERS, PLATFORM, TYPES]
    assert world.shop.catalog_unread() == (2 if status == 403 else 3)
    world.clock.seconds += 600
    world.shop.catalog()
    world.shop.mandatory_tracking()
    assert paths(world)[3:] == ([CARRIERS, TYPES] if status == 403 else [CARRIERS, PLATFORM, TYPES])


def test_while_one_thread_reads_carriers_that_hang_the_others_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """All workers waited one after the other, 20 s each, and then /live failed."""
    monkeypatch.setattr("adapters.remotes.daily.WAIT_SECONDS", 0.01)
    begun, ends = threading.Event(), threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path != CARRIERS:
            return httpx.Response(200, json=CATALOG_BODIES[request.url.path])
        begun.set()
        ends.wait(LONG)
        raise httpx.ReadTimeout("")

    world = World(answer)
    reads = threading.Thread(target=world.shop.catalog)
    reads.start()
    assert begun.wait(LONG)
    for _ in range(2):
        assert world.shop.catalog() == Catalog(None, alternative_carriers=False)
        assert world.shop.mandatory_tracking() == {"EXP"}
    ends.set()
    reads.join(LONG)
    world.shop.catalog()
    assert paths(world) == [CARRIERS, PLATFORM, TYPES], "a failure is remembered"
    world.clock.seconds += 600
    world.shop.catalog()
    assert paths(world)[3:] == [CARRIERS]


def test_no_caller_waits_for_a_read_of_the_catalog_but_the_first_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads that read it hold the leases of commands."""
    monkeypatch.setattr("adapters.remotes.daily.WAIT_SECONDS", LONG)
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
    wait(lambda: len(world.calls) == 4, "the reads end")
    assert world.shop.catalog() == expected


def test_reads_of_many_catalogs_take_two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.remotes.daily.WAIT_SECONDS", 0.01)
    begun, ends = threading.Semaphore(0), threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        begun.release()
        ends.wait(LONG)
        raise httpx.ReadTimeout("")

    beside = Beside("catalog-of-many")
    worlds = [World(answer, beside=beside) for _ in range(5)]
    for world in worlds:
        assert world.shop.catalog().carriers is None
    assert all(begun.acquire(timeout=LONG) for _ in range(2))
    assert sum(one.name.startswith("catalog-of-many") for one in threading.enumerate()) == 2
    assert sum(len(world.sent) for world in worlds) == 2
    ends.set()
    wait(lambda: all(paths(world) == [CARRIERS, PLATFORM] for world in worlds), "each is read")


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
    expected = (world.shop.catalog(), world.shop.mandatory_tracking())
    failing |= CATALOG_BODIES.keys()
    world.clock.seconds += 24 * 3600
    assert (world.shop.catalog(), world.shop.mandatory_tracking()) == expected
    assert len(world.sent) == 6
    assert world.shop.catalog_unread() == 0


def test_carriers_that_could_not_be_read_refuse_no_tracking() -> None:
    """Without free text the carrier needs its code, and nobody knows the code."""
    world = answering(204)
    unknown = Catalog(None, alternative_carriers=False)
    error = error_of(lambda: world.shop.send_tracking("A", Tracking("Yodel", "1"), unknown))
    assert isinstance(error, Retryable)
    assert (error.operation, error.outcome, error.code) == ("SH21", "not_sent", "NOT_READ")
    assert not world.sent


@pytest.mark.parametrize(("carriers", "kind"), [(None, Retryable), ((), Rejected)])
def test_a_tracking_refused_while_the_carriers_are_not_known_is_tried_again(
    carriers: tuple[Carrier, ...] | None, kind: type[RemoteError]
) -> None:
    refusing = answering(400, '{"errors": [{"code": "CARRIER_CODE_REQUIRED", "message": "no"}]}')
    error = error_of(lambda: refusing.shop.send_tracking("A", Tracking("Yodel", "1"), Catalog(carriers)))
    assert type(error) is kind
    assert (error.status, error.code) == (400, "CARRIER_CODE_REQUIRED")


def test_a_401_for_a_setting_concerns_the_whole_account_and_the_next_caller_reads_again() -> None:
    world = answering(401)
    for call in (world.shop.catalog, world.shop.mandatory_tracking) * 2:
        assert isinstance(error_of(call), AccountFault)
    assert paths(world) == [CARRIERS, TYPES] * 2
    assert world.shop.catalog_unread() == 0
