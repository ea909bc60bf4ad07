"""The HTML of Mirakl's messages as plain text."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from adapters.remotes.mirakl_text import plain_text
from tests.support import apart


@pytest.fixture(scope="module")
def call_apart() -> Iterator[Callable[..., Any]]:
    with apart() as call:
        yield call


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('Please print:<br />"Foundry Yard, est. 1987"', 'Please print:\n"Foundry Yard, est. 1987"'),
        ("<p>a</p><p><b>b</b> &amp; c&nbsp;d</p>", "a\n\nb & c d"),
        ("I <3 you", "I <3 you"),
        ("print <ANA> now", "print <ANA> now"),
        ("&lt;b&gt;", "<b>"),
        ("a\r\nb\x00\ud800", "a\nb"),
        ("<br><br><br><br>a", "a"),
        ("", ""),
        ('<a title="a>b">c</a> <ANA x="y>z">', 'c <ANA x="y>z">'),
        ("a<!-- <p>no</p> -->b<!DOCTYPE html><?xml?>c", "abc"),
        ("a <!-- b", "a <!-- b"),
        ("<script>print this</script>", "<script>print this</script>"),
        ("</ANA> </p>x</br>", "</ANA>\nx"),
        ("<![if !supportLists]>a<![endif]> <![<![", "a <![<!["),
        ("&#" + "1" * 5000 + ";", "&#" + "1" * 5000 + ";"),
    ],
)
def test_html_becomes_plain_text(html: str, text: str) -> None:
    assert plain_text(html).replace("\xa0", " ") == text


@pytest.mark.parametrize(
    "piece",
    [
        "<a ",
        "<a/",
        "<a b=c ",
        "<!--",
        "<",
        "</",
        "<!",
        "<?",
        "<![",
        '<a x="',
        "<a x='",
        '<a "" ',
        "<a \"'",
        "&",
        "&#x1",
    ],
)
@pytest.mark.parametrize("before", ["", "<a '", '<a "'])
def test_no_text_of_a_customer_takes_long(call_apart: Callable[..., Any], before: str, piece: str) -> None:
    """While a pattern is searched, no other thread of the process runs. Where the time grew with the square of the
    length, this text would take longer than the patience of the test."""
    call_apart(plain_text, before + piece * (200_000 // len(piece)))
