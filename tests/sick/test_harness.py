"""The harness of `make sick`: the proxy, what it reads of metrics, and what it judges."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from adapters.simulators.books import Effect
from tests.sick.__main__ import as_json
from tests.sick.proxy import Manner, Proxy
from tests.sick.run import MEMORY_BYTES, PEAK_BYTES, Result, Usual, judge_memory, judge_times
from tests.sick.table import ALL, BY_NAME
from tests.sick.watch import Memory, Probe, Seen, at_share, series
from tests.sick.waves import life, lives_of, took_of
from tests.support import Meanwhile


class _Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    server = HTTPServer(("127.0.0.1", 0), _Hello)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    proxy = Proxy("127.0.0.1", server.server_port)
    yield proxy
    proxy.stop()
    server.shutdown()
    server.server_close()
    thread.join()


def get(proxy: Proxy, seconds: float = 10.0) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=seconds)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_a_silent_proxy_keeps_an_answer_back_until_it_is_healed(proxy: Proxy) -> None:
    proxy.manner = Manner(silent=True)
    asked = Meanwhile(lambda: get(proxy))
    assert asked.waits()
    proxy.manner = Manner()
    assert asked.result() == "hello"


def test_a_refusing_proxy_ends_each_connection(proxy: Proxy) -> None:
    proxy.manner = Manner(refuses=True)
    with pytest.raises((http.client.HTTPException, OSError)):
        get(proxy)


def test_a_dripping_proxy_sends_byte_by_byte(proxy: Proxy) -> None:
    proxy.manner = Manner(byte_seconds=0.05)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert len(connection.recv(100)) == 1


def test_a_lying_proxy_answers_itself(proxy: Proxy) -> None:
    proxy.manner = Manner(answer=b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nlie")
    assert get(proxy) == "lie"


def test_a_delay_is_waited_for_in_both_directions(proxy: Proxy) -> None:
    proxy.manner = Manner(delay_seconds=0.1)
    began = time.monotonic()
    assert get(proxy) == "hello"
    assert time.monotonic() - began >= 0.2


def test_series_are_read_without_comments_and_buckets() -> None:
    text = '# HELP a b\na 1.0\nb{shop="x y",to="z"} 2.5\nc_bucket{le="1"} 3\nd NaN\n'
    found = series(text)
    assert found["a"] == 1.0
    assert found['b{shop="x y",to="z"}'] == 2.5
    assert "c_bucket" not in "".join(found)


def test_growth_counts_from_the_first_look_at_each_process() -> None:
    seen = Seen(
        first={("p", "n_total"): 5.0, ("q", "n_total"): 1.0}, highest={("p", "n_total"): 7.0, ("q", "n_total"): 1.0}
    )
    assert seen.grew("n_total") == 2.0
    assert seen.metric("n_total") == 7.0
    assert seen.metric("other") == 0.0


def test_a_probe_without_an_answer_counts_as_the_longest() -> None:
    seen = Seen(probes=[Probe("p", "/live", 200, 0.01), Probe("p", "/live", 0, 0.02), Probe("q", "/live", 0, 0.02)])
    assert seen.slowest(0.9, leave_out=("q",)) == {"/live": 5.0}
    assert at_share([], 0.9) == 0.0


def test_an_order_s_time_is_from_its_creation_to_or24() -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    created = Effect(at, "alpha", "1", "created", "customer", {})
    shipped = Effect(at + timedelta(seconds=3), "alpha", "1", "shipped", "api", {})
    assert took_of([created, shipped]) == 3.0
    assert took_of([created]) is None


def test_orders_of_a_wave_come_in_turn_and_have_ids_of_their_own() -> None:
    lives = lives_of(("alpha", "beta"), seconds=6, every_seconds=2)
    assert [one.arrives_at_seconds for one in lives] == [0, 0, 2, 2, 4, 4]
    assert len({one.order_id for one in [*lives, life("alpha", 0)]}) == 7


def test_times_are_compared_with_the_slower_of_the_usual_ones() -> None:
    def played() -> Result:
        return Result(ALL[0], usual=Usual(3.0, {"/live": 0.05}), others_seconds=6.0, answers={"/live": 0.3})

    result = played()
    judge_times(result, Usual(4.5, {"/live": 0.25}))
    assert result.passed
    judge_times(result, Usual())
    assert result.passed, "the slower ones are kept"
    late = played()
    judge_times(late, Usual(3.0, {"/metrics": 1.0}))
    assert late.late == ["an order of others took 6.0 s, usual are 3.0 s", "/live takes 300 ms, usual are 50 ms"]


def test_memory_may_be_used_for_a_moment_and_not_be_kept() -> None:
    result = Result(ALL[0])
    judge_memory(
        result,
        {
            "a": Memory(10, 10 + PEAK_BYTES, 10 + MEMORY_BYTES),
            "b": Memory(10, 11 + MEMORY_BYTES, 11 + MEMORY_BYTES),
            "c": Memory(10, 11 + PEAK_BYTES, 10),
        },
    )
    assert result.wrong == [
        f"the memory of b grew by {MEMORY_BYTES + 1:,} bytes",
        f"the memory of c grew by {PEAK_BYTES + 1:,} bytes for a moment",
    ]
    (one,) = as_json([result])
    assert one["memory"]["a"] == {"first": 10, "most": 10 + PEAK_BYTES, "last": 10 + MEMORY_BYTES}


def test_every_sickness_has_a_name_of_its_own() -> None:
    assert len(BY_NAME) == len(ALL) >= 30


def test_every_sickness_says_what_has_to_be_seen() -> None:
    assert [one.name for one in ALL if not one.signs and not one.unseen] == []
