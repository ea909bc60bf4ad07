"""The attention reasons of an order as `orders` holds them: JSON [[reason, detail, since]], and how urgent they are."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from adapters.store import schema as s
from statemachine.commands import CommandKind
from statemachine.reason_of_order import StandingAttention
from statemachine.reasons import Reason
from statemachine.urgency import Urgency


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


def reasons_at(version: int, attention: str) -> str:
    """The version and the stored reasons of an order in one text, as the database puts them together."""
    return f"{version}{attention}"


def columns_of(version: int, reasons: Sequence[StandingAttention], urgency: Urgency | None) -> dict[str, Any]:
    """What a row stores of its attention reasons. `urgency` None: there is no reason, or the urgency is not known."""
    attention = attention_to_json(reasons)
    return dict(
        attention=attention,
        urgency=None if urgency is None else urgency.rank,
        needs_since=min((one.since for one in reasons), default=None),
        urgency_of="" if urgency is None else reasons_at(version, attention),
    )
