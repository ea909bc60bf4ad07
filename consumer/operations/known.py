"""What is known of an order, in a few lines. What the remotes wrote is apart, because it may hold personal data."""

from dataclasses import dataclass, replace

from consumer.operations.instants import to_the_second
from statemachine.facts import Facts, Tracking
from statemachine.failures import GiveUp, Rejection, Trouble
from statemachine.questions.trackings import best_tracking


@dataclass(frozen=True, slots=True)
class RemoteText:
    """What Mirakl or the OMS wrote when it refused a call. May hold personal data."""

    command: str
    carries: str  # what tells two calls of one kind apart: an answer, a tracking
    round: int
    words: str


def known(facts: Facts) -> dict[str, str]:
    """The facts of an order in a few lines, by name. No personal data."""
    found: dict[str, str] = {}
    snapshot = facts.newest
    if snapshot is not None:
        found["Mirakl"] = f"{snapshot.state} {snapshot.workflow}, updated {to_the_second(snapshot.updated_at)}"
        found["read"] = to_the_second(snapshot.read_at)
        found["tracking at Mirakl"] = _tracking(snapshot.tracking)
    # The answer to the import names a part with its lines, an event names it without them. A part is shown once.
    found["orders in the OMS"] = ", ".join(sorted({f"{part.oms_id} {part.ref}".strip() for part in facts.parts}))
    found["tracking (OMS)"] = _tracking(best_tracking(facts))
    return {name: value for name, value in found.items() if value}


def _tracking(tracking: Tracking) -> str:
    return f"{tracking.carrier or tracking.carrier_code} {tracking.number}".strip()


# -- Texts of the remotes ----------------------------------------------------------------------------------------


def remote_texts(facts: Facts) -> list[RemoteText]:
    """What Mirakl and the OMS wrote when calls of the order failed."""
    failed: tuple[Rejection | GiveUp | Trouble, ...] = (*facts.rejections, *facts.given_up, *facts.troubles)
    return [RemoteText(one.kind, one.carries, one.round, one.words) for one in failed if one.words]


def without_remote_texts(facts: Facts) -> Facts:
    """The facts without the texts that the remotes wrote, which may quote the order."""
    return replace(
        facts,
        rejections=tuple(replace(rejection, words="") for rejection in facts.rejections),
        given_up=tuple(replace(give_up, words="") for give_up in facts.given_up),
        troubles=tuple(replace(trouble, words="") for trouble in facts.troubles),
    )
