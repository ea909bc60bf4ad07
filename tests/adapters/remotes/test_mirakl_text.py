"""The HTML of Mirakl's messages as plain text."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from adapters.remotes.mirakl_text import has_picture, plain_text
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
        ("see <a href='https://we.tl/f?a=1&amp;b=2'>here</a>, please", "see here (https://we.tl/f?a=1&b=2), please"),
        ('<A class=x HREF = "https://a.example/">https://a.example</a> now', "https://a.example now"),
        ("<a href=mailto:ana@a.example>ana@a.example</a>", "ana@a.example"),
        (
            "<a href=https://a.example/1></a><a href=https://a.example/2>two",
            "https://a.example/1two (https://a.example/2)",
        ),
        ("<a href='https://a.example/f'><b>my</b> file</a>", "my file (https://a.example/f)"),
        ('<a name="top">a</a><a href="#top">b</a><a title="href=c">d</a>', "abd"),
        ("a<img alt='my &amp; cat' src=\"https://a.example/c.png\">b", "a my & cat https://a.example/c.png b"),
        ("<a href='https://a.example'><img src='cid:1'></a>", "https://a.example"),
        ("a<img src='data:image/png;base64,AAAA'/>", "a"),
    ],
)
def test_html_becomes_plain_text(html: str, text: str) -> None:
    assert plain_text(html).replace("\xa0", " ") == text


@pytest.mark.parametrize(
    ("html", "expected"),
    [("a<img src='https://a.example/c.png'>", True), ("<IMG>", True), ("<!-- <img> -->", False), ("an img", False)],
)
def test_a_picture_in_a_message_is_noticed(html: str, expected: bool) -> None:
    assert has_picture(html) is expected


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
        "<a href=b>c",
        "<img src= ",
        "<img alt='' ",
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


@pytest.mark.parametrize("inside", ["href ", "href= ", "a", "a= ", "href=a ", "' ' ", "= "])
@pytest.mark.parametrize("before", ["<a ", "<img '", '<a b="" '])
def test_no_tag_with_many_attributes_takes_long(call_apart: Callable[..., Any], before: str, inside: str) -> None:
    call_apart(plain_text, before + inside * (200_000 // len(inside)) + ">")
