"""`orderflow dead-letters`: looking at them, replaying and discarding them."""

import json

from adapters.store import orders as order_rows
from adapters.store.dead_letters import SET_ASIDE
from consumer.cli.output import BAD_ANSWER
from tests.consumer.cli.runner import GOOD, add_dead_letter, consume, error_of, json_of, output_of, published, run
from tests.consumer.operations.desk import Desk


def test_dead_letters_are_listed_without_their_content_and_shown_with_it(desk: Desk) -> None:
    add_dead_letter(desk, b'{"name": "Erika"')
    (listed,) = json_of("dead-letters", "list")
    assert listed["id"] == 1
    assert listed["reason"] == "bad_json"
    assert listed["times"] == 1
    assert "Erika" not in json.dumps(listed)
    assert "Erika" not in output_of("dead-letters", "list")
    assert json_of("dead-letters", "show", "1")["value"] == '{"name": "Erika"'
    assert output_of("dead-letters", "show", "1").endswith('\n{"name": "Erika"\n')
    assert error_of("dead-letters", "show", "2", code=BAD_ANSWER) == "orderflow: there is no dead letter 2\n"


def test_dead_letters_are_replayed_and_discarded(publishing: Desk) -> None:
    add_dead_letter(publishing, GOOD.read_bytes())
    output = output_of("dead-letters", "replay", "1", "--reason", "the company is known now", "--yes")
    assert output == "1 is published to oms.order-events\n"
    assert [record.value for record in published(publishing)] == [GOOD.read_bytes()]
    consume(publishing)
    assert order_rows.find(publishing.store, "LX-20417-A")[0].facts.dispatches
    for command in ("replay", "discard"):
        error = error_of("dead-letters", command, "1", "--reason", "x", "--yes", code=BAD_ANSWER)
        assert error == "orderflow: dead letter 1 is replayed already\n"
    add_dead_letter(publishing, b"other")
    assert json_of("dead-letters", "list")[0]["times"] == 2, "the same digest: it is the same dead letter"
    assert output_of("dead-letters", "discard", "1", "--reason", "a test", "--yes") == "1 is discarded\n"
    assert json_of("dead-letters", "list")[0]["state"] == "discarded"


def test_what_was_set_aside_of_a_shop_is_replayed_together(publishing: Desk) -> None:
    """Too many records of one shop were unusable (docs/rules.md 33), and the cause is mended."""
    add_dead_letter(publishing, GOOD.read_bytes(), reason=SET_ASIDE, key=b"99999:LX-20417-A", digest="1")
    add_dead_letter(publishing, b"other", reason=SET_ASIDE, key=b"alpha:1-A", digest="2")
    add_dead_letter(publishing, b"third", key=b"beta:2-B", digest="3")
    said = output_of("dead-letters", "replay", "--set-aside", "beta", "--reason", "mended", "--yes")
    assert said == "1 is published to oms.order-events\n"
    consume(publishing)
    assert order_rows.find(publishing.store, "LX-20417-A")[0].facts.dispatches
    states = {one["id"]: one["state"] for one in json_of("dead-letters", "list")}
    assert states == {1: "replayed", 2: "open", 3: "open"}


def test_replay_needs_either_ids_or_a_shop_that_is_configured(publishing: Desk) -> None:
    replay = ("dead-letters", "replay", "--reason", "x", "--yes")
    for wrong in ((), ("1", "--set-aside", "alpha")):
        assert "name ids, or a shop" in error_of(*replay, *wrong, code=BAD_ANSWER)
    assert "the shop gamma is not in" in error_of(*replay, "--set-aside", "gamma", code=BAD_ANSWER)


def test_replay_and_discard_need_a_reason_and_a_confirmation(publishing: Desk) -> None:
    add_dead_letter(publishing, GOOD.read_bytes())
    for command in ("replay", "discard"):
        assert "--reason" in error_of("dead-letters", command, "1", "--yes")
        assert "--reason is blank" in error_of("dead-letters", command, "1", "--reason", " ", "--yes", code=BAD_ANSWER)
        assert run("dead-letters", command, "1", "--reason", "x", answers="n\n").exit_code == BAD_ANSWER
    assert json_of("dead-letters", "list")[0]["state"] == "open"
    assert published(publishing) == []
