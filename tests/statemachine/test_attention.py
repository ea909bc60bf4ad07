"""The table of reasons, and how a reason is named where it is stored."""

from statemachine.commands import CommandKind
from statemachine.facts import Facts
from statemachine.joining import join
from statemachine.reason_of_order import Attention
from statemachine.reasons import REASONS, Reason
from statemachine.states import State, state_of
from tests.statemachine.lives import read, settled, snapshot_event


def test_every_reason_has_a_meaning_and_a_cure() -> None:
    assert set(Reason) == REASONS.keys()
    for reason, about in REASONS.items():
        assert about.meaning, reason
        assert about.cure, reason


def test_a_reason_that_only_a_newer_version_knows_blocks_nothing() -> None:
    unknown = Attention("of_tomorrow")  # type: ignore[arg-type]
    assert unknown.about.meaning == ""
    assert not unknown.about.holds


def test_a_reason_of_a_call_names_the_call_and_its_round() -> None:
    gave_up = Attention.of_command(Reason.GAVE_UP, CommandKind.TRACK, 2)
    assert gave_up.detail == "send_tracking#2"
    assert gave_up.command is CommandKind.TRACK
    assert gave_up.token == "gave_up:send_tracking#2"


def test_a_reason_of_anything_else_names_no_call() -> None:
    assert Attention(Reason.QUANTITY_EXCEEDS_ORDER, "L#1").command is None


def test_to_settle_already_in_oms_counts_the_order_as_imported() -> None:
    """`state_of` looks for the token that a decision to settle this reason carries."""
    facts = snapshot_event(read("SHIPPING")).new_facts
    assert state_of(facts) is State.SHIPPING
    decided: Facts = settled(Attention(Reason.ALREADY_IN_OMS).token).new_facts
    assert state_of(join(facts, decided)) is State.IMPORTED
