"""The life of one simulated order, and the stage of its story: Mirakl, the OMS, and the people who use them."""

import random
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Protocol

from adapters.simulators.mirakl.marketplace import MiraklSimulator
from adapters.simulators.mirakl.model import DEBIT, SENT
from adapters.simulators.oms.model import Shipment
from adapters.simulators.oms.oms import OmsSimulator
from adapters.simulators.orders import Line, build_order

#: The steps of a story. Before each step it yields what to wait for: a number of seconds, or a condition.
Script = Generator[float | Callable[[], bool], None, None]


@dataclass(frozen=True, slots=True)
class Life:
    """One simulated order: its contents, and what must have happened to it at the end."""

    marketplace: str
    order_id: str
    story: str
    number: int
    seed: int
    arrives_at_seconds: float
    workflow: str
    shipping_type: str
    lines: tuple[Line, ...]
    messages: tuple[tuple[str, str], ...]  # (kind of sender, body)
    trackings: tuple[str, ...]  # every tracking number that is reported, in the order of dispatch
    ends: str  # orderflow's state at the end: shipped, refused, canceled, or the one in which the order stays
    accepted_by: str | None  # as Effect.by; None: the order is not accepted
    imported: bool
    shipped_by: str | None  # as Effect.by; None: the order is not shipped
    last_tracking: str | None  # the number that Mirakl shows at the end
    goods: tuple[tuple[str, int], ...] = ()  # (line id, pieces) that have to be in the OMS, and no others
    reasons: tuple[str, ...] = ()  # as in Story; so is `attributes`
    attributes: tuple[str, ...] = ()
    refused_by: str | None = None  # as Effect.by; None: orderflow does not refuse it


class Desk(Protocol):
    """The person who works with orderflow: reads the attention reasons of an order, and decides."""

    def reasons(self, shop: str, order_id: str, /) -> Collection[str]:
        """Return the reasons for which orderflow shows the order to a person now."""

    def decide(self, shop: str, order_id: str, act: str, only: Sequence[str] = (), /) -> str:
        """Decide. Returns why it is not possible, or an empty text.

        `act`: hold, release, settle, sent, handled, retry, accept or refuse. `only`: the reasons to settle, or the ids
        of the lines to accept or to refuse.
        """


class _Nobody:
    def reasons(self, _shop: str, _order_id: str) -> Collection[str]:
        return ()

    def decide(self, _shop: str, _order_id: str, _act: str, _only: Sequence[str] = ()) -> str:
        return ""


class Stage:
    """The steps of a story: each method does something to the order, or waits for something."""

    def __init__(
        self,
        life: Life,
        mirakl: MiraklSimulator,
        oms: OmsSimulator,
        company_ref_id: int,
        *,
        speed: float,
        fields: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """`fields`: fields of the order in OR11 that differ from those of a plain order."""
        self.life, self.mirakl, self.oms, self.company_ref_id = life, mirakl, oms, company_ref_id
        self.speed, self.fields = speed, fields
        self.desk: Desk = _Nobody()
        self.findings: list[str] = []  # what went wrong on the way
        self.order_id = life.order_id
        self.random = random.Random(f"{life.seed}/{life.order_id}")
        self.finished = False

    def pause(self, least_seconds: float, most_seconds: float) -> float:
        return self.random.uniform(least_seconds, most_seconds)

    def state(self) -> str | None:
        return self.mirakl.state(self.order_id)

    def is_in(self, *states: str) -> Callable[[], bool]:
        return lambda: self.state() in states

    # -- At Mirakl ---------------------------------------------------------------------------------------------

    def arrive(
        self,
        state: str = "WAITING_ACCEPTANCE",
        history: Sequence[tuple[str, str]] = (),
        tracking: str | None = None,
    ) -> Script:
        """Add the order at Mirakl. A fifth of the orders in WAITING_ACCEPTANCE are in STAGING first."""
        life = self.life
        yield life.arrives_at_seconds
        now = self.mirakl.now()
        staged = state == "WAITING_ACCEPTANCE" and self.random.random() < 0.2
        order = build_order(
            self.mirakl.marketplace,
            self.order_id,
            created=now if state in ("STAGING", "WAITING_ACCEPTANCE") else now - timedelta(hours=2),
            lines=life.lines,
            state="STAGING" if staged else state,
            workflow=life.workflow,
            shipping_type=life.shipping_type,
            person=life.number,
            tracking=tracking,
            decided_by_hand=("accepted", "person") in history,
        )
        with self.mirakl.lock:  # so that no request sees the order without its messages
            self.mirakl.add_order(order | dict(self.fields), history)
            for sender, body in life.messages:
                self.mirakl.post_message(self.order_id, body, sender)
        if staged:
            yield self.pause(0.2, 1.5)
            self.mirakl.release_staging(self.order_id)

    def accepted(self) -> Script:
        yield lambda: self.state() not in ("STAGING", "WAITING_ACCEPTANCE")

    def debit_begins(self) -> Script:
        yield from self.accepted()
        yield self.pause(0.2, 1.0)
        self.mirakl.advance_debit(self.order_id)
        yield self.pause(0.3, 3.0)

    def debit(self) -> Script:
        """Play the debit between acceptance and shipping. Only PAY_ON_ACCEPTANCE has one there."""
        if self.life.workflow == "PAY_ON_ACCEPTANCE":
            yield from self.debit_begins()
            self.mirakl.confirm_debit(self.order_id)

    def late_debit(self) -> Script:
        """Play the debit after shipping, if the workflow has one there (docs/mirakl.md 4.4)."""
        workflow = self.life.workflow
        if workflow == "PAY_ON_SHIPMENT":
            yield self.is_in(*DEBIT)
        elif workflow in ("PAY_ON_DELIVERY", "PAY_ON_DUE_DATE"):
            yield self.is_in("SHIPPED")
            yield self.pause(0.5, 2.0)
            if workflow == "PAY_ON_DUE_DATE":
                self.mirakl.mark_received(self.order_id)
                yield self.pause(0.5, 1.0)
            self.mirakl.advance_debit(self.order_id)
            self.mirakl.advance_debit(self.order_id)
        else:
            return
        yield self.pause(0.5, 3.0)
        self.mirakl.confirm_debit(self.order_id)

    def shipped(self) -> Script:
        """Play the late debit, and wait until Mirakl shows the order as shipped, with the last tracking of its life.

        Some orders with PAY_ON_ACCEPTANCE are then marked as received, and some of these are closed.
        """
        yield from self.late_debit()
        yield self.is_in(*SENT)
        yield lambda: self.mirakl.tracking(self.order_id) == self.life.last_tracking
        if self.life.workflow == "PAY_ON_ACCEPTANCE" and self.random.random() < 0.3:
            yield self.pause(1.0, 3.0)
            self.mirakl.mark_received(self.order_id)
            if self.random.random() < 0.5:
                yield self.pause(0.5, 1.0)
                self.mirakl.close(self.order_id)

    def failed(self, error: Exception) -> None:
        """Note in the findings and in the books that the story ends here because of this error."""
        what = f"{type(error).__name__}: {error}"
        self.findings.append(f"its story failed: {what}")
        books, place = self.mirakl.books, self.life.marketplace
        books.record(self.mirakl.now(), place, self.order_id, "story_failed", "simulator", error=what)

    # -- At the desk -------------------------------------------------------------------------------------------

    def is_listed(self, reason: str) -> Callable[[], bool]:
        return lambda: reason in self.desk.reasons(self.life.marketplace, self.order_id)

    def decide(self, act: str, *only: str) -> None:
        refusal = self.desk.decide(self.life.marketplace, self.order_id, act, only)
        if refusal:
            self.findings.append(f"{act} was not possible: {refusal}")

    def decided(self, act: str, *only: str) -> Callable[[], bool]:
        """Try to decide again and again, until it is possible."""
        return lambda: not self.desk.decide(self.life.marketplace, self.order_id, act, only)

    def stays(self, *, imported: bool, seconds: float = 2.0) -> Script:
        """Let some time pass, in which orderflow must make no call that imports or ships the order."""
        yield seconds
        if self.oms.holds(self.order_id, self.company_ref_id) != imported:
            self.findings.append("imported although a person has to act first")
        if self.state() in (*DEBIT, *SENT):
            self.findings.append("shipped although a person has to act first")

    # -- At the OMS --------------------------------------------------------------------------------------------

    def line_id(self, index: int) -> str:
        return f"{self.order_id}-{index + 1}"

    def imported(self) -> Script:
        yield lambda: self.oms.holds(self.order_id, self.company_ref_id)

    def produced(self) -> Script:
        """Wait for the import, and play the production until the parcel is packed."""
        yield from self.imported()
        for status in (512, 513, 4)[: self.random.randint(0, 3)]:
            yield self.pause(0.2, 0.8)
            self.oms.progress(self.order_id, status, self.company_ref_id)
        yield self.pause(1.0, 2.6)

    def carrier(self) -> str:
        """Return a registered carrier as the fulfiller writes it: its label, sometimes in upper case."""
        carriers = self.mirakl.marketplace.carriers
        label = carriers[self.life.number % len(carriers)].label
        return label.upper() if self.life.number % 5 == 4 else label

    def parcel(self, tracking: str, *lines: int, **fields: Any) -> Shipment:
        """Make a parcel with the lines of these indexes, in the ordered quantities."""
        chosen = tuple((f"{self.order_id}-{index + 1}", self.life.lines[index].quantity) for index in lines)
        ref = self.company_ref_id
        return self.oms.shipment(self.order_id, tracking, lines=chosen, company_ref_id=ref, **fields)

    def dispatch(self, status: int = 8, tracking: str | None = None, **fields: Any) -> list[Shipment]:
        carrier = fields.pop("carrier", self.carrier())
        return self.oms.dispatch(
            self.order_id, self.company_ref_id, status=status, tracking=tracking, carrier=carrier, **fields
        )
