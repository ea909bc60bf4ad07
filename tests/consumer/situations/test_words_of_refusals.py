"""What `orders explain` quotes of a remote belongs to the call that the reason is about, not to an earlier one."""

import json
from pathlib import Path

import pytest

from consumer.operations.known import RemoteText, remote_texts
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import explained, tell


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.imported()
    return rig


def cause(rig: Rig, reason: str) -> str:
    found = explained(rig)
    return next(one.cause for one in found.attention if one.reason == reason)


def report(rig: Rig, number: str) -> None:
    tell(rig, 8, shipping_carrier="DPD", new_shipments=[{"tracking": number}])
    rig.pass_time(minutes=15)


def fail(rig: Rig, status: int, words: str, count: int = 1) -> None:
    content = json.dumps({"message": words, "status": status, "code": "NO"})
    rig.fail("OR23", "answer", count, status=status, content=content)


def test_of_two_refused_trackings_the_words_about_the_one_to_send_are_quoted(rig: Rig) -> None:
    for number, words in (("T1", "unknown carrier"), ("T2", "too short")):
        fail(rig, 400, words)
        report(rig, number)
        assert rig.attention() == ["tracking_rejected"]
        assert f'400 NO, "{words}"' in cause(rig, "tracking_rejected")


def test_a_refusal_of_an_earlier_tracking_is_not_quoted_for_one_that_keeps_failing(rig: Rig) -> None:
    fail(rig, 503, "out of order", 100)
    report(rig, "T1")
    first = cause(rig, "retrying")
    rig.mirakl["alpha"].knobs.faults.clear()
    fail(rig, 503, "in maintenance", 100)
    report(rig, "T2")
    assert '"out of order"' in first
    assert remote_texts(rig.row().facts) == [
        RemoteText("send_tracking", "DPD | T1 | ", 0, "out of order"),
        RemoteText("send_tracking", "DPD | T2 | ", 0, "in maintenance"),
    ]
    assert '"in maintenance"' in cause(rig, "retrying")
    assert first.partition(": ")[0] != cause(rig, "retrying").partition(": ")[0], "the first failure is another"
