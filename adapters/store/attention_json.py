"""The attention reasons of an order as `orders.attention` holds them: JSON [[reason, detail, since]]."""

import json
from collections.abc import Sequence
from datetime import datetime

from adapters.store import schema as s
from statemachine.commands import CommandKind
from statemachine.reason_of_order import StandingAttention
from statemachine.reasons import Reason


def attention_to_json(attention: Sequence[StandingAttention]) -> str:
    return json.dumps([[one.reason, one.detail, one.since.isoformat()] for one in attention])


def attention_from_json(text: str) -> tuple[StandingAttention, ...]:
    return tuple(
        StandingAttention(
            s.member(Reason, reason), detail, command=_command_in(detail), since=datetime.fromisoformat(since)
        )
        for reason, detail, since in json.loads(text)
    )


def _command_in(detail: str) -> CommandKind | None:
    """The kind of the call that a stored detail names, as `Attention.of_command` writes it: "send_tracking#2"."""
    name, separator, _ = detail.partition("#")
    return next((kind for kind in CommandKind if kind == name), None) if separator else None
