"""Lines of the log that strangers can cause."""

from consumer.web.seldom import SELDOM_SECONDS, Seldom
from tests.support import StillClock


def test_of_one_kind_there_is_one_line_a_minute_with_how_often_it_happened() -> None:
    clock = StillClock()
    seldom = Seldom(clock.monotonic)
    assert [seldom.times("alpha", "busy") for _ in range(1000)] == [1, *[0] * 999]
    assert seldom.times("beta", "busy") == 1, "another kind"
    clock.advance(SELDOM_SECONDS - 1)
    assert seldom.times("alpha", "busy") == 0
    clock.advance(1)
    assert seldom.times("alpha", "busy") == 1001
    assert seldom.times("alpha", "busy") == 0
