"""What is wrong with events in files: the published examples, the forms of files, and that no report quotes a value."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import Unreadable, UnreadableReason
from adapters.messages.oms_events import ShopIds, decode_oms
from adapters.messages.snapshots import decode_snapshot
from consumer.operations.events import Checked, Checker, lines, split, summary

EXAMPLES = Path(__file__).resolve().parents[3] / "docs/events/examples"
VALID = sorted(path for path in (EXAMPLES / "valid").glob("*.json") if not path.stem.startswith("dead-letter"))
INVALID = sorted((EXAMPLES / "invalid").glob("*.json"))
SHOPS = (ShopIds("alpha", 99999),)
TOPICS = {"oms_events": "oms.order-events", "snapshots": "mirakl.order-snapshots", "transitions": "o.transitions"}
TOPIC_OF = {"oms": "oms_events", "snapshot": "snapshots", "transition": "transitions"}


def check(text: bytes | dict[str, Any], shops: Sequence[ShopIds] | None = SHOPS) -> list[Checked]:
    return list(Checker(shops).check(text if isinstance(text, bytes) else json.dumps(text).encode()))


def example(name: str) -> dict[str, Any]:
    return dict(json.loads((EXAMPLES / "valid" / f"{name}.json").read_text()))


# -- The published examples ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_example_breaks_what_its_name_says(path: Path) -> None:
    prefix, reason, *field = path.stem.split("--")
    last = check(path.read_bytes())[-1]
    if reason == "warning":
        assert last.error is None
        assert [warning.field for warning in last.warnings] == field
    else:
        assert last.error is not None
        assert last.error.reason == reason
        assert last.error.field == (field[0] if field else "")
        assert last.error.rule != "cannot be read"
    if reason not in ("unknown_type", "not_json"):
        assert last.topic == TOPIC_OF[prefix]


def test_the_invalid_examples_show_every_reason() -> None:
    assert {path.stem.split("--")[1] for path in INVALID} == {*UnreadableReason} | {"warning"}


@pytest.mark.parametrize("path", [one for one in INVALID if one.stem[0] != "t"], ids=lambda path: path.stem)
def test_the_verdict_is_that_of_the_consumer(path: Path) -> None:
    """Transitions are left out, because orderflow reads none."""
    prefix, reason, *_ = path.stem.split("--")
    for raw in split(path.read_bytes()):
        try:
            decode_oms(raw, (), SHOPS) if prefix == "oms" else decode_snapshot(raw, (), {"alpha"})
            decoded = "warning"
        except Unreadable as error:
            decoded = error.reason
    assert decoded == ("warning" if reason == "unknown_type" else reason)  # on the topic of the OMS any type is read


@pytest.mark.parametrize("shops", [SHOPS, None], ids=["configured", "not looked up"])
@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_example_breaks_nothing(path: Path, shops: Sequence[ShopIds] | None) -> None:
    for one in check(path.read_bytes(), shops):
        assert one.error is None
        assert one.warnings == ()
        assert one.topic == TOPIC_OF[path.stem.partition("-")[0]]


# -- What is understood --------------------------------------------------------------------------------------------


def test_the_company_has_to_be_a_number_even_without_a_configuration() -> None:
    for company in ("KX-1", "007", "9" * 4500, "\u0663"):
        event = example("oms-dispatched") | {"companyrefid": company}
        (found,) = check(event, None)
        assert found.error is not None
        assert found.error.field == "companyrefid"
        assert "configuration" not in found.error.rule


def test_what_orderflow_would_understand() -> None:
    two = (ShopIds("fr", 99999, "LX-"), ShopIds("plain", 99999, "Z"))
    assert check(example("oms-dispatched"), two)[0].understood == {
        "order_id": "20417-A",
        "shop": "fr",
        "status": 8,
        "all_sent": True,
        "parcels": 1,
        "tracking": True,
        "cancellations": 0,
    }
    assert check(example("oms-dispatched"), None)[0].understood == {
        "order_id": "LX-20417-A",
        "shop": None,
        "status": 8,
        "all_sent": True,
        "parcels": 1,
        "tracking": True,
        "cancellations": 0,
    }
    assert check(example("snapshot-shipping"))[0].understood == {
        "order_id": "LX-20417-A",
        "shop": "alpha",
        "mirakl_state": "SHIPPING",
        "lines": 2,
        "address": True,
    }
    assert check(example("transition-dispatched"))[0].understood == {
        "shop": "alpha",
        "order_id": "LX-20417-A",
        "from_state": "imported",
        "to_state": "dispatched",
    }


def test_an_error_does_not_hide_the_warnings() -> None:
    event = example("oms-dispatched")
    del event["partitionkey"], event["data"]["status"], event["data"]["id"]
    (found,) = check(event)
    assert found.error is not None
    assert found.error.field == "data.id"
    assert [warning.field for warning in found.warnings] == ["partitionkey", "data.status"]


# -- Files ---------------------------------------------------------------------------------------------------------


def test_a_broken_line_makes_only_its_own_event_wrong() -> None:
    good = json.dumps(example("oms-dispatched")).encode()
    found = check(good + b"\r\n\n" + good[:-40] + b"\nnonsense\n" + good)
    assert [one.error.reason if one.error else "" for one in found] == ["", "not_json", "not_json", ""]
    assert [one.number for one in found] == [1, 2, 3, 4]


def test_an_event_over_several_lines_is_one_event_even_if_broken() -> None:
    text = json.dumps(example("oms-dispatched"), indent=1).encode()
    assert [one.error is None for one in check(text)] == [True]
    assert [one.error and one.error.reason for one in check(text[:-1])] == ["not_json"]


@pytest.mark.parametrize("text", [b"[", b"[{}", b"[{},]", b"[{}] x", b"\xff", b"5", b'"x"'])
def test_a_file_that_is_no_event_is_not_json(text: bytes) -> None:
    (found,) = check(text)
    assert found.error is not None
    assert found.error.reason == "not_json"


def test_an_array_keeps_the_bytes_of_its_events() -> None:
    assert split(b' [ {"a": 1.0} ,null,\n{"b":"\xc3\xa9"}]\n') == [b'{"a": 1.0}', b"null", b'{"b":"\xc3\xa9"}']
    assert split(b"[]") == split(b" \n") == []


def test_null_is_a_warning() -> None:
    for text in (b"null", b"[null]", b"null\n" + json.dumps(example("oms-dispatched")).encode()):
        first = check(text)[0]
        assert first.error is None
        assert "tombstone" in first.warnings[0].rule


def test_an_id_with_other_data_is_a_warning_and_a_repeat_is_not() -> None:
    event = example("oms-dispatched")
    checker = Checker(None)
    spaced = json.dumps(event, indent=4).encode()
    assert not next(checker.check(json.dumps(event).encode())).warnings
    assert not next(checker.check(spaced)).warnings
    event["data"]["status"] = 64
    assert [warning.field for warning in next(checker.check(json.dumps(event).encode())).warnings] == ["id"]
    event["source"], event["companyrefid"], event["partitionkey"] = "/kornitx/company/1", "1", "1:LX-20417-A"
    assert not next(checker.check(json.dumps(event).encode())).warnings


# -- Reports -------------------------------------------------------------------------------------------------------


def test_no_finding_quotes_a_value() -> None:
    canary = "Canary Bird"
    good = example("oms-dispatched")
    events = [good | {name: f"{canary}\n{name}"} for name in good]
    events += [good | {"data": good["data"] | {name: [canary]}} for name in good["data"]]
    events += [good | {"data": good["data"] | {name: canary} | {"id": canary}} for name in good["data"]]
    for event in events:
        (found,) = check(event)
        assert found.error or found.warnings or found.understood
        assert canary not in json.dumps(summary(found, TOPICS)) + "".join(lines(found, TOPICS))


def test_an_event_is_reported_to_people_and_to_scripts() -> None:
    event = example("oms-dispatched") | {"partitionkey": "x"}
    found = check(event, None)[0]
    rule = "has to be {companyrefid}:{subject}, which is the record's key too"
    assert list(lines(found, TOPICS)) == [
        "ok, oms.order-events: order_id LX-20417-A, shop not looked up, status 8, all_sent yes, parcels 1, "
        "tracking yes, cancellations 0",
        f"  warning: partitionkey: {rule}",
    ]
    assert summary(found, TOPICS) == {
        "event": 1,
        "topic": "oms.order-events",
        "ok": True,
        "error": None,
        "warnings": [{"field": "partitionkey", "rule": rule}],
        "understood": found.understood,
    }
    assert list(lines(check(b"{}")[0], TOPICS)) == ['wrong: specversion: has to be "1.0" [not_cloudevent]']
    assert summary(check(b"5")[0], TOPICS)["error"] == {
        "reason": "not_json",
        "field": "",
        "rule": "has to be a JSON object in UTF-8",
    }
