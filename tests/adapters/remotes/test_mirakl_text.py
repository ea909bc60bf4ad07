"""The HTML of Mirakl's messages as plain text."""

import pytest

from adapters.remotes.mirakl_text import plain_text


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
    ],
)
def test_html_becomes_plain_text(html: str, text: str) -> None:
    assert plain_text(html).replace("\xa0", " ") == text
