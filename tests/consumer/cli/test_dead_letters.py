"""`orderflow dead-letters`: looking at them, replaying and discarding them."""

import json
from pathlib import Path

import pytest

from adapters.store import dead_letters as dead_letter_rows
from adapters.store import orders as order_rows
from adapters.store.dead_letters import SET_ASIDE, DeadLetter
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


def test_dead_letters_of_a_reason_are_listed(desk: Desk) -> None:
    add_dead_letter(desk, b"1", digest="1")
    add_dead_letter(desk, b"2", reason="unknown_company", digest="2")
    assert [one["id"] for one in json_of("dead-letters", "list", "--of-reason", "unknown_company")] == [2]
    assert json_of("dead-letters", "list", "--of-source", "callback:beta") == []


def three_of_two_reasons(desk: Desk) -> None:
    """1 and 3 can be published, 2 is of a shop that is not in the configuration, 4 has another reason."""
    add_dead_letter(desk, GOOD.read_bytes(), reason="unknown_company", digest="1")
    with desk.store.transaction() as tx:
        gone = DeadLetter("callback:gamma", "", "unknown_company", "", "2", b"gamma:1-A", b"{}")
        dead_letter_rows.add(tx, [gone], desk.clock.now())
    add_dead_letter(desk, b"third", reason="unknown_company", digest="3")
    add_dead_letter(desk, b"fourth", digest="4")


def states() -> dict[int, str]:
    return {one["id"]: one["state"] for one in json_of("dead-letters", "list")}


def test_a_dry_run_of_a_replay_shows_each_and_publishes_nothing(publishing: Desk) -> None:
    three_of_two_reasons(publishing)
    replay = ("dead-letters", "replay", "--of-reason", "unknown_company", "--reason", "x", "--dry-run")
    lines = error_of(*replay, code=BAD_ANSWER).splitlines()
    first = "1: unknown_company from oms.order-events, 1x, last 2026-03-01 12:00:00: is published to oms.order-events"
    assert lines[0] == first
    assert lines[1] == "2: not possible: dead letter 2: its shop gamma is not in the configuration"
    assert lines[2].startswith("3: unknown_company")
    assert len(lines) == 3
    assert published(publishing) == []
    assert set(states().values()) == {"open"}


def test_all_dead_letters_of_a_reason_are_replayed_and_one_that_cannot_be_stops_no_other(publishing: Desk) -> None:
    three_of_two_reasons(publishing)
    result = run("dead-letters", "replay", "--of-reason", "unknown_company", "--reason", "known now", answers="y\n")
    assert result.exit_code == BAD_ANSWER
    assert "replay 2 of 3? [y/N]" in result.stderr
    assert "1 is published to oms.order-events\n3 is published to oms.order-events\n" in result.stdout
    assert "orderflow: dead letter 2: its shop gamma is not in the configuration" in result.stderr
    assert states() == {1: "replayed", 2: "open", 3: "replayed", 4: "open"}
    assert len(published(publishing)) == 2


def test_a_no_to_a_bulk_replay_publishes_nothing(publishing: Desk) -> None:
    three_of_two_reasons(publishing)
    refused = run("dead-letters", "replay", "--of-reason", "unknown_company", "--reason", "x", answers="n\n")
    assert refused.exit_code == BAD_ANSWER
    assert published(publishing) == []


def test_a_bulk_replay_is_bounded_and_says_so(publishing: Desk) -> None:
    for number in range(3):
        add_dead_letter(publishing, GOOD.read_bytes(), digest=f"{number}")
    replay = ("dead-letters", "replay", "--of-source", "oms.order-events", "--limit", "2", "--reason", "x", "--yes")
    assert "there are more than 2; run it again" in run(*replay).stderr
    assert states() == {1: "replayed", 2: "replayed", 3: "open"}
    assert "more than" not in run(*replay).stderr
    assert set(states().values()) == {"replayed"}
    assert "there is no such open dead letter" in error_of(*replay, code=BAD_ANSWER)


def test_dead_letters_of_a_file_are_replayed_or_discarded(publishing: Desk, tmp_path: Path) -> None:
    three_of_two_reasons(publishing)
    (tmp_path / "ids").write_text("3\n\n4\n3\n")
    assert "discard 2 of 2?" in run("dead-letters", "discard", "--all-of", "ids", "--reason", "x", answers="y\n").stderr
    assert states() == {1: "open", 2: "open", 3: "discarded", 4: "discarded"}
    (tmp_path / "ids").write_text("O-1\n")
    wrong = error_of("dead-letters", "replay", "--all-of", "ids", "--reason", "x", code=BAD_ANSWER)
    assert "ids: O-1 is no id of a dead letter" in wrong


@pytest.mark.parametrize("verb", ["replay", "discard"])
def test_a_list_on_standard_input_needs_yes(publishing: Desk, verb: str) -> None:
    three_of_two_reasons(publishing)
    command = ("dead-letters", verb, "--all-of", "-", "--reason", "x")
    result = run(*command, answers="1\ny\n")
    assert result.exit_code == BAD_ANSWER
    assert "--all-of - needs --yes" in result.stderr
    assert "1: " in run(*command, "--dry-run", answers="1\n").stderr
    assert set(states().values()) == {"open"}
    assert run(*command, "--yes", answers="1\n").exit_code == 0


def test_nobody_is_asked_about_no_dead_letter(publishing: Desk, tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("7\n8\n")
    result = run("dead-letters", "replay", "--all-of", "ids", "--reason", "x")
    assert result.exit_code == BAD_ANSWER
    assert "?" not in result.stderr


def test_replay_needs_one_way_to_name_dead_letters_and_a_shop_that_is_configured(publishing: Desk) -> None:
    replay = ("dead-letters", "replay", "--reason", "x", "--yes")
    for wrong in ((), ("1", "--set-aside", "alpha"), ("1", "--of-reason", "bad_json")):
        assert "name them in one way" in error_of(*replay, *wrong, code=BAD_ANSWER)
    assert "the shop gamma is not in" in error_of(*replay, "--set-aside", "gamma", code=BAD_ANSWER)


def test_replay_and_discard_need_a_reason_and_a_confirmation(publishing: Desk) -> None:
    add_dead_letter(publishing, GOOD.read_bytes())
    for command in ("replay", "discard"):
        assert "--reason" in error_of("dead-letters", command, "1", "--yes")
        assert "--reason is blank" in error_of("dead-letters", command, "1", "--reason", " ", "--yes", code=BAD_ANSWER)
        assert run("dead-letters", command, "1", "--reason", "x", answers="n\n").exit_code == BAD_ANSWER
    assert json_of("dead-letters", "list")[0]["state"] == "open"
    assert published(publishing) == []
