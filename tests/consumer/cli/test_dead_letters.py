"""`orderflow dead-letters`."""

import json

from adapters.store import orders as order_rows
from consumer.cli.output import BAD_ANSWER
from tests.consumer.cli.runner import GOOD, add_dead_letter, answer, call, complaint, consume, good, published
from tests.consumer.operations.desk import Desk


def test_dead_letters_are_listed_without_their_content_and_shown_with_it(desk: Desk) -> None:
    add_dead_letter(desk, b'{"name": "Erika"')
    listed = answer("dead-letters", "list")
    assert [(one["id"], one["reason"], one["times"]) for one in listed] == [(1, "bad_json", 1)]
    assert "Erika" not in json.dumps(listed) + good("dead-letters", "list")
    assert answer("dead-letters", "show", "1")["value"] == '{"name": "Erika"'
    assert good("dead-letters", "show", "1").endswith('\n{"name": "Erika"\n')
    assert complaint("dead-letters", "show", "2", code=BAD_ANSWER) == "orderflow: there is no dead letter 2\n"


def test_letters_are_replayed_and_discarded_with_a_reason(publishing: Desk) -> None:
    add_dead_letter(publishing, GOOD.read_bytes())
    said = good("dead-letters", "replay", "1", "--reason", "the company is known now", "--yes")
    assert said == "1 is published to oms.order-events\n"
    assert [record.value for record in published(publishing)] == [GOOD.read_bytes()]
    consume(publishing)
    assert order_rows.find(publishing.store, "LX-20417-A")[0].facts.dispatches
    for command in ("replay", "discard"):
        said = complaint("dead-letters", command, "1", "--reason", "x", "--yes", code=BAD_ANSWER)
        assert said == "orderflow: dead letter 1 is replayed already\n"
    add_dead_letter(publishing, b"other")
    assert answer("dead-letters", "list")[0]["times"] == 2, "the same digest: it is the same letter"
    assert good("dead-letters", "discard", "1", "--reason", "a test", "--yes") == "1 is discarded\n"
    assert answer("dead-letters", "list")[0]["state"] == "discarded"


def test_a_letter_needs_a_reason_and_a_yes(publishing: Desk) -> None:
    add_dead_letter(publishing, GOOD.read_bytes())
    for command in ("replay", "discard"):
        assert "--reason" in complaint("dead-letters", command, "1", "--yes")
        assert "says nothing" in complaint("dead-letters", command, "1", "--reason", " ", "--yes", code=BAD_ANSWER)
        assert call("dead-letters", command, "1", "--reason", "x", answers="n\n").exit_code == BAD_ANSWER
    assert answer("dead-letters", "list")[0]["state"] == "open"
    assert published(publishing) == []
