"""Sicknesses of Mirakl and of the OMS: they hang, drip, lie, throttle, refuse the key."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl.marketplace import MiraklSimulator
from adapters.simulators.oms.oms import OmsSimulator
from adapters.simulators.orders import KNOWN_SKUS, Line, build_order
from adapters.store import orders as order_rows
from tests.sick.proxy import Manner
from tests.sick.service import Service
from tests.sick.sickness import ALL_ORDERS, Sickness, grows, logged, metric, shop
from tests.sick.waves import life, play_beside
from tests.support import wait

_POLL_FAILS = 'orderflow_api_requests_total{operation="OR11",outcome="%s",shop="alpha"'
_IMPORT_FAILS = 'orderflow_api_requests_total{operation="import_order",outcome="%s"'
#: An account that refuses the key pauses for a minute.
_AFTER_A_PAUSE = 90.0


def _answer(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}", "connection: close", "", ""]
    return "\r\n".join(lines).encode() + body


def _bomb() -> bytes:
    """Two layers of gzip around 64 MiB of zeros."""
    body = gzip.compress(gzip.compress(bytes(64 * 1024 * 1024), 1), 9)
    return _answer("200 OK", "content-type: application/json", "content-encoding: gzip, gzip", body=body)


def _zipped(body: bytes) -> bytes:
    return _answer("200 OK", "content-encoding: gzip", body=gzip.compress(body, 1))


def _endless_pages() -> Callable[[], bytes]:
    """Pages that never end: each has other orders, and says that there are a million. A page takes 20 ms, so no order
    is published: the poll does not come to its end while the part is sick."""
    numbers = count(1)

    def page() -> bytes:
        orders = [{"order_id": f"ENDLESS-{next(numbers)}", "order_state": "CLOSED"} for _ in range(10)]
        # Pages overlap: the first order of each has to be known.
        return _answer("200 OK", body=json.dumps({"orders": [known, *orders], "total_count": 1_000_000}).encode())

    known = {"order_id": "ENDLESS-0", "order_state": "CLOSED"}
    return page


def _broken_html(service: Service) -> None:
    """Add an order whose customer writes tags that have no end."""
    play_beside(service, replace(life("alpha", 0.0), messages=(("CUSTOMER_USER", "<a " * 6_000),)))


def _treated(part: str, manner: Callable[[], Manner]) -> Callable[[Service], None]:
    """Let the proxy in front of this part behave so."""

    def begin(service: Service) -> None:
        service.proxies[part].manner = manner()
        service.held.callback(setattr, service.proxies[part], "manner", Manner())

    return begin


def _at_mirakl(
    name: str, row: str, manner: Callable[[], Manner], outcome: str, cause: str, *, recovery: float = 45.0
) -> Sickness:
    return Sickness(
        name,
        "Mirakl of alpha",
        row,
        _treated("alpha", manner),
        touches=shop("alpha"),
        signs=(logged("poll_failed", shop="alpha", outcome=outcome, cause=cause), grows(_POLL_FAILS % outcome)),
        recovery_seconds=recovery,
        short_seconds=16.0 if name == "mirakl-hangs" else 0.0,  # its calls have a time-out of 10 s
    )


def _certificate_expired(service: Service) -> None:
    service.certificate.show(days=-1)
    _treated("alpha", lambda: Manner(ends=True))(service)
    service.held.callback(service.certificate.show)


def _answered(part: str, operation: str, kind: str) -> Callable[[Service], None]:
    """Let every call of this operation have this answer (simulators/faults.py)."""

    def begin(service: Service) -> None:
        simulated = service.simulated
        simulator: MiraklSimulator | OmsSimulator = simulated.oms if part == "oms" else simulated.mirakl[part]
        fault = Fault(operation, kind, count=100_000, retry_after_seconds=3)
        simulator.knobs.faults.append(fault)
        service.held.callback(simulator.knobs.faults.remove, fault)

    return begin


def _inbox_fails(service: Service) -> None:
    """Let every read of messages fail, and add an order whose customer wrote."""
    play_beside(service, replace(life("alpha", 0.0), messages=(("CUSTOMER_USER", "Please wrap it"),)))
    _answered("alpha", "M11", "500")(service)


def _far_date(service: Service) -> None:
    """Add an order that is to be shipped by the last day that a date can name."""
    mirakl = service.simulated.mirakl["alpha"]
    order_id, line = f"FAR{datetime.now(UTC):%H%M%S}-A", Line(KNOWN_SKUS["alpha"][0])
    order = build_order(mirakl.marketplace, order_id, created=mirakl.now(), lines=[line], state="SHIPPING")
    mirakl.add_order(order | {"shipping_deadline": "9999-12-31T23:59:59.999Z"})
    service.held.callback(
        wait, lambda: order_rows.states(service.store).get(("alpha", order_id)) == "imported", "it is imported", 60
    )


def _order_with_a_bad_id(service: Service) -> None:
    mirakl = service.simulated.mirakl["alpha"]
    order_id, line = f"7\u202e{datetime.now(UTC):%H%M%S}-A", Line(KNOWN_SKUS["alpha"][0])
    mirakl.add_order(build_order(mirakl.marketplace, order_id, created=mirakl.now(), lines=[line]), ())
    service.held.callback(mirakl.cancel, order_id, by="customer")


REMOTES = (
    _at_mirakl(
        "mirakl-hangs",
        "a marketplace takes connections and never answers: the other shop's orders go on",
        lambda: Manner(silent=True),
        "timeout",
        "timeout",
    ),
    _at_mirakl(
        "mirakl-drips",
        "a marketplace sends its answers byte by byte: a deadline over the whole exchange ends the call",
        lambda: Manner(byte_seconds=0.4),
        "timeout",
        "timeout",
    ),
    _at_mirakl(
        "mirakl-refuses",
        "a marketplace resets every connection",
        lambda: Manner(refuses=True),
        "network",
        "connection",
    ),
    Sickness(
        "mirakl-certificate-expired",
        "the certificate of Mirakl of alpha",
        "the certificate of a marketplace has expired: its calls fail with the cause tls, and the others go on",
        _certificate_expired,
        touches=shop("alpha"),
        signs=(logged("poll_failed", shop="alpha", cause="tls"), grows(_POLL_FAILS % "network")),
    ),
    _at_mirakl(
        "mirakl-wrong-key",
        "a marketplace refuses the key of one shop: this account pauses, the others go on",
        lambda: Manner(answer=_answer("401 Unauthorized", body=b'{"message":"Unauthorized","status":401}')),
        "401",
        "remote",
        recovery=_AFTER_A_PAUSE,
    ),
    _at_mirakl(
        "mirakl-redirects",
        "a marketplace redirects to another host: the key does not go along",
        lambda: Manner(answer=_answer("302 Found", "location: http://127.0.0.1:9/")),
        "4xx",
        "remote",
        recovery=_AFTER_A_PAUSE,
    ),
    _at_mirakl(
        "mirakl-bomb",
        "a marketplace answers with two layers of gzip around zeros: the call fails, and memory does not grow",
        lambda: Manner(answer=_bomb()),
        "network",
        "connection",
    ),
    _at_mirakl(
        "mirakl-long-head",
        "a marketplace answers with a head of 2 MB: the call fails, and memory does not grow",
        lambda: Manner(answer=_answer("200 OK", *(f"x-{n}: {'y' * 1000}" for n in range(2000)), body=b"{}")),
        "network",
        "connection",
    ),
    Sickness(
        "mirakl-endless-pages",
        "Mirakl of alpha",
        "a marketplace's listing has no end: this shop's poll reads on, memory does not grow, and the others go on",
        _treated("alpha", lambda: Manner(answers=_endless_pages(), delay_seconds=0.02)),
        touches=shop("alpha"),
        signs=(grows(_POLL_FAILS % "2xx"),),
    ),
    Sickness(
        "mirakl-many-values",
        "Mirakl of alpha",
        "a page with a million orders of two bytes: it is refused, and memory does not grow",
        _treated("alpha", lambda: Manner(answer=_zipped(b'{"orders":[' + b"{}," * 1_000_000 + b"{}]}"))),
        touches=shop("alpha"),
        signs=(logged("poll_failed", shop="alpha", error="not_json"),),
    ),
    Sickness(
        "mirakl-cut-page",
        "Mirakl of alpha",
        "a page that ends in the middle of a text with quotes: it is refused at once, and no probe waits for it",
        _treated("alpha", lambda: Manner(answer=_answer("200 OK", body=b'{"orders":[{"a":"' + b'\\"' * 1_000_000))),
        touches=shop("alpha"),
        signs=(logged("poll_failed", shop="alpha", error="not_json"),),
        short_seconds=8.0,
    ),
    Sickness(
        "customer-writes-tags",
        "the messages of one order of alpha",
        "a customer writes HTML tags without an end: the message is imported, and no probe and no order waits for it",
        _broken_html,
        seconds=10.0,
        unseen="nothing fails, so nothing has to be shown",
    ),
    Sickness(
        "mirakl-slow",
        "the network to Mirakl of alpha",
        "a slow network to one marketplace: its orders take longer, and the other shop's do not",
        _treated("alpha", lambda: Manner(delay_seconds=0.7)),
        touches=shop("alpha"),
        signs=(grows('orderflow_api_request_seconds_sum{operation="OR11"'),),
    ),
    Sickness(
        "mirakl-throttles",
        "Mirakl of alpha",
        "a marketplace answers 429 to every listing: the polls of this shop wait, and those of the others do not",
        _answered("alpha", "OR11", "429"),
        touches=shop("alpha"),
        signs=(
            logged("poll_failed", shop="alpha", outcome="429"),
            grows(_POLL_FAILS % "429"),
        ),
    ),
    Sickness(
        "mirakl-bad-order",
        "one order of alpha at Mirakl",
        "an order whose id has marks of writing direction: one dead letter, counted, and all other orders go on",
        _order_with_a_bad_id,
        seconds=10.0,
        short_seconds=6.0,
        signs=(
            metric('orderflow_dead_letters_open{reason="bad_id",source="poll"'),
            grows("orderflow_poll_orders_total"),
        ),
    ),
    Sickness(
        "mirakl-far-date",
        "one order of alpha at Mirakl",
        "an order with a date of the year 9999: the date counts as none, and all orders go on",
        _far_date,
        seconds=10.0,
        unseen="nothing fails, so nothing has to be shown",
    ),
    Sickness(
        "mirakl-inbox-fails",
        "the messages of alpha at Mirakl",
        "a marketplace answers 500 to every read of messages: imports with messages wait, and all else goes on",
        _inbox_fails,
        signs=(grows('orderflow_api_requests_total{operation="M11",outcome="5xx",shop="alpha"'),),
    ),
    Sickness(
        "oms-hangs",
        "the OMS",
        "the OMS takes connections and never answers: polls and calls of Mirakl go on",
        _treated("oms", lambda: Manner(silent=True)),
        touches=ALL_ORDERS,
        signs=(grows(_IMPORT_FAILS % "timeout"),),
    ),
    Sickness(
        "oms-fails",
        "the OMS",
        "the OMS answers 500 to every import: its circuit opens, and calls of Mirakl go on",
        _answered("oms", "order", "500"),
        touches=ALL_ORDERS,
        signs=(grows(_IMPORT_FAILS % "5xx"), metric("orderflow_circuit_open{")),
        recovery_seconds=60.0,
    ),
    Sickness(
        "oms-wrong-key",
        "the OMS",
        "the OMS refuses the key: imports pause, and calls of Mirakl go on",
        _treated("oms", lambda: Manner(answer=_answer("401 Unauthorized", body=b'{"error":"unauthorized"}'))),
        touches=ALL_ORDERS,
        signs=(grows(_IMPORT_FAILS % "401"), metric('orderflow_account_paused{shop="beta",system="oms"')),
        recovery_seconds=_AFTER_A_PAUSE,
    ),
)
