"""A random walk: what can happen to one order, step by step. Mirakl, the OMS and people do unusual things, too.

Mirakl goes forward and back and withdraws lines. Reads come late. Calls are refused, given up, or answered and not
applied. The OMS sends any report at any time. Time passes, and a person takes any decision that is possible then.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from statemachine import facts as f
from statemachine.attention.attention import ALREADY_THERE
from statemachine.attention.changes_by_mirakl import said_by_settle
from statemachine.attention.ends import can_be_settled
from statemachine.commands import Command, CommandKey, CommandKind, Policy
from statemachine.events import Trigger
from statemachine.facts import (
    EPOCH,
    Answer,
    Attempt,
    Cancellation,
    Decision,
    DecisionKind,
    Dispatch,
    Facts,
    Handover,
    Line,
    OmsStatus,
    Part,
    Receipt,
    Snapshot,
    Tracking,
    Unread,
    Withdrawn,
    age_of,
)
from statemachine.failures import Doubt, GiveUp, Recovery, Rejection, Trouble
from statemachine.joining import snapshot_facts
from statemachine.machine import EventResult, decide
from statemachine.occurrences import seen_in
from statemachine.plan import Plan, plan
from statemachine.questions.missing import is_next_miss
from statemachine.questions.readings import answers_of_lines, carried, is_pending, last_answer
from statemachine.questions.trackings import best_tracking
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason
from statemachine.states import State
from statemachine.urgency import EndsBy
from tests.statemachine.lives import WORKFLOWS, at, event, read

GRACE_SECONDS = 120
TRACKINGS = (Tracking(), Tracking("DPD", ""), Tracking("DPD", "T1"), Tracking("Yodel", "T2", "https://t.example/T2"))
POLICIES = (
    Policy(),
    Policy(),
    Policy(acceptance="hold", other_channels=False),
    Policy(acceptance="known-skus", known_skus=frozenset({"MUG"})),
    Policy(acceptance="known-skus", known_skus=frozenset({"MUG"}), unknown_skus="refuse"),
)


def _to_settle(facts: Facts, attention: Iterable[Attention]) -> tuple[str, ...]:
    """What a settle of these reasons names."""
    seen = [one for one in attention if can_be_settled(one)]
    return tuple(dict.fromkeys(token for one in seen for token in said_by_settle(facts, one)))


@dataclass
class Walk:
    """One order on its way. `step` lets one thing happen, and returns what it did to the order."""

    seed: int
    now: float = 0
    state: State = State.NEW
    facts: Facts = field(default_factory=Facts)
    steps: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.policy = self.random.choice(POLICIES)
        self.workflow = self.random.choice(WORKFLOWS)
        states = f.WORKFLOWS.get(self.workflow, ("STAGING", "WAITING_ACCEPTANCE", "SHIPPING", *f.AFTER_SHIPPING))
        self.life = states
        self.place = self.random.choice((0, 1, 1, 1, states.index("SHIPPING")))
        self.lines = tuple(
            Line(f"L{n + 1}", "", self.random.choice(("MUG", "MUG", "TEE")), self.random.choice((1, 2, 3)))
            for n in range(self.random.choice((1, 1, 2)))
        )
        self.has_deadline = self.random.random() < 0.3
        self.has_messages = self.random.random() < 0.3
        self.shown = Tracking()
        self.can_ship, self.centre, self.odd_state, self.address = True, "", "", "a0"
        self.versions: list[Snapshot] = []
        self.reads: list[Snapshot] = []
        self.in_flight: list[Command] = []
        self.plan: Plan = plan(self.facts, self.policy)
        #: The order before each of the last five steps. A person may decide on one of these, while later events wait.
        self.earlier = [(self.facts, self.plan)]
        self.decided_on: dict[datetime, Facts] = {}  # by the time of the decision: what the person saw
        self.wanted = self.state  # the state by the facts alone. It differs from `state` if no edge leads to it

        if self.random.random() < 0.4:
            self._begin_imported()
            if self.random.random() < 0.3:
                self._begin_taken_back()
            elif self.seed % 10 == 0:
                self._begin_settled_late()
            elif self.seed % 10 == 5:
                self._begin_taken_back_unread()

    def _begin_imported(self) -> None:
        """Let the OMS have the order already: then there are more steps for what happens after the import."""
        self.place = self.life.index("SHIPPING")
        self.apply(*self._mirakl())
        for one in [one for one in self.plan.due if one.kind is CommandKind.IMPORT]:
            self.apply(*self._claimed(one))
            answer = Answer(one.kind, one.carries, one.round, at(self.now), at(self.now + GRACE_SECONDS))
            self.apply(Trigger.CALL, "import_order yes", self._imported(Facts(answers=(answer,))))

    def _begin_taken_back(self) -> None:
        """Let Mirakl take the whole order back, and a person settle that."""
        state = self.random.choice(("REFUNDED", "CANCELED", "INCIDENT_OPEN"))
        self.lines = tuple(replace(line, state=state) for line in self.lines)
        self.now += 60
        self.apply(*self._mirakl())
        self.now += 60
        for kind, subject in [act for act in self._acts() if act[0] is DecisionKind.SETTLE][:1]:
            self.apply(*self._decided(kind, subject, self.facts))

    def _begin_taken_back_unread(self) -> None:
        """Let Mirakl cancel a line, the OMS send all of the order and OR24 go out, before the next read."""
        first, *others = self.lines
        self.lines = (replace(first, state="CANCELED"), *others)
        for part in self.facts.parts:
            self.now += 60
            new = Facts(dispatches=(Dispatch(part.oms_id, at(self.now), covers="order", told_at=at(self.now)),))
            self.apply(Trigger.OMS_EVENT, "OMS dispatched the order", new)
        for one in [one for one in self.plan.due if one.kind is CommandKind.CONFIRM]:
            self.apply(*self._claimed(one))
            answer = Answer(one.kind, one.carries, one.round, at(self.now), at(self.now + GRACE_SECONDS))
            self._applied(one)
            self.apply(Trigger.CALL, "confirm_shipment yes", Facts(answers=(answer,)))
        self.now += 60
        self.apply(*self._mirakl())

    def _begin_settled_late(self) -> None:
        """Let a person settle incidents on what was known before the newest read, or before a report of the OMS."""
        lines = self.lines

        def shows(state: str) -> None:
            self.now += 60
            self.lines = tuple(replace(line, state=state) for line in lines)
            self.apply(*self._mirakl())

        shows("INCIDENT_OPEN")
        on, tokens = self.facts, _to_settle(self.facts, self.plan.attention)
        if self.seed % 20:
            shows("SHIPPING")
            shows("INCIDENT_OPEN")
        elif known := [part.oms_id for part in self.facts.parts]:
            self.now += 60
            left = Dispatch(known[0], at(self.now), covers="order", told_at=at(self.now))
            new = Facts(dispatches=(left,), receipts=(Receipt(at(self.now), "left"),))
            self.apply(Trigger.OMS_EVENT, "OMS dispatched the order", new)
        if tokens:
            self.now += 60
            self.apply(*self._decided(DecisionKind.SETTLE, tokens, on))

    def is_told(self, reason: Reason) -> bool:
        return any(one.reason is reason for one in self.plan.attention)

    # -- One step ------------------------------------------------------------------------------------------------

    def step(self) -> EventResult | None:
        """Let something happen. Returns what it did to the order, or None if that step is not possible now."""
        self.now += self.random.choice((1, 10, 60, 200))
        happens = self.random.choices(
            (self._mirakl, self._call, self._oms, self._person, self._clock, self._gone), (40, 30, 12, 15, 3, 2)
        )[0]
        found = happens()
        return self.apply(*found) if found else None

    def apply(self, trigger: Trigger, says: str, new: Facts) -> EventResult:
        outcome = decide(self.state, self.facts, event(trigger, f"{len(self.steps)}", new))
        self.earlier = [*self.earlier[-4:], (self.facts, self.plan)]
        self.state, self.facts = outcome.state, outcome.facts
        self.plan = plan(self.facts, self.policy)
        self.wanted = self.plan.state
        if self.wanted is not self.state:  # as consumer/applying/apply.py does it
            told = (*self.plan.attention, Attention(Reason.NO_EDGE, f"{self.state}->{self.wanted}"))
            self.plan = replace(self.plan, state=self.state, due=(), attention=told)
        due = ",".join(f"{one.kind}#{one.round}" for one in self.plan.due)
        reasons = ",".join(one.token for one in self.plan.attention)
        self.steps.append(f"{self.now:>6} {says} -> {self.state} due[{due}] told[{reasons}]")
        return outcome.result

    # -- Mirakl --------------------------------------------------------------------------------------------------

    def _mirakl(self) -> tuple[Trigger, str, Facts]:
        self.random.choice((self._forward, self._forward, self._forward, self._nothing, self._change))()
        state = self.odd_state or self.life[self.place]
        lines = tuple(replace(line, state=line.state or self.random.choice(("", state))) for line in self.lines)
        newest = replace(
            read(state, self.workflow, updated=self.now, began=self.now, lines=lines, tracking=self.shown),
            can_ship=self.can_ship,
            centre=self.centre,
            has_messages=self.has_messages,
            ship_by=at(5_000) if self.has_deadline else EPOCH,
        )
        if state == "SHIPPING" and self.random.random() < 0.05:
            newest = replace(newest, has_address=False)
        newest = replace(newest, contents=(("shipping address", self.address),))
        newest = replace(newest, digest=f"{state} {self.shown.number} {self.lines} {self.centre} {self.address}")
        if not self.versions and self.random.random() < 0.1:
            newest = replace(newest, import_digest="")  # as an older version of orderflow stored its reads
        self.versions.append(newest)
        # A replica may lag: then a read shows an older version.
        chosen = newest if self.random.random() < 0.9 else self.random.choice(self.versions)
        snapshot = replace(chosen, read_at=at(self.now))
        self.reads.append(snapshot)
        return Trigger.SNAPSHOT, f"read {snapshot.state} {self._lines(snapshot)}", snapshot_facts(snapshot)

    @staticmethod
    def _lines(snapshot: Snapshot) -> str:
        return " ".join(f"{one.id}:{one.state}/{one.withdrawn}/{one.quantity}" for one in snapshot.lines)

    def _nothing(self) -> None: ...

    def _forward(self) -> None:
        self.odd_state = ""
        waits_for_seller = self.life[self.place] in ("WAITING_ACCEPTANCE", "SHIPPING")
        if self.place + 1 < len(self.life) and self.random.random() < (0.15 if waits_for_seller else 0.8):
            self.place += 1

    def _change(self) -> None:
        change: Callable[[], None] = self.random.choice(
            (self._odd, self._back, self._withdraw, self._withdraw, self._centre, self._foreign_tracking, self._moves)
        )
        change()

    def _odd(self) -> None:
        self.odd_state = self.random.choice(("REFUSED", "CANCELED", "ON_THE_MOON", "WAITING_DEBIT", "SHIPPING"))

    def _back(self) -> None:
        self.place = max(0, self.place - self.random.choice((1, 2)))

    def _withdraw(self) -> None:
        n = self.random.randrange(len(self.lines))
        line = self.lines[n]
        states = ("", "CANCELED", "REFUNDED", "REFUSED", "SHIPPED", "INCIDENT_OPEN", "LOST_IN_SPACE")
        changed = self.random.choice(
            (
                replace(line, state=self.random.choice(states)),
                self._taken(line, self.random.choice(tuple(Withdrawn))),
                replace(line, quantity=self.random.choice((None, 0, 1, 2, 3))),
                replace(line, shipped=not line.shipped),
            )
        )
        self.lines = (*self.lines[:n], changed, *self.lines[n + 1 :])

    def _taken(self, line: Line, withdrawn: Withdrawn) -> Line:
        dates = (*line.withdrawn_at, at(self.now)) if withdrawn else ()
        return replace(line, withdrawn=withdrawn, withdrawn_at=dates)

    def _centre(self) -> None:
        if self.random.random() < 0.5:
            self.can_ship = not self.can_ship
        else:
            self.centre = self.random.choice(("", "DEFAULT", "OPERATOR-1"))

    def _moves(self) -> None:
        self.address = self.random.choice(("a0", "a1", "a2"))

    def _foreign_tracking(self) -> None:
        self.shown = Tracking("UPS", self.random.choice(("FOREIGN", "T1")))

    # -- Our calls -----------------------------------------------------------------------------------------------

    def _call(self) -> tuple[Trigger, str, Facts] | None:
        """Claim a call that is due, or bring the result of one that is in flight."""
        if self.in_flight and self.random.random() < 0.7:
            command = self.in_flight.pop(self.random.randrange(len(self.in_flight)))
            says, new = self._result(command)
            return Trigger.CALL, f"{command.kind}#{command.round} {says}", new
        waiting = [one for one in self.plan.due if one not in self.in_flight]
        if not waiting:
            return None
        command = self.random.choice(waiting)
        self.in_flight.append(command)
        return self._claimed(command)

    def _claimed(self, command: Command) -> tuple[Trigger, str, Facts]:
        new = Facts(attempts=(Attempt(command.kind, command.carries),))
        if command.kind is CommandKind.TRACK:
            new = replace(new, sent=(best_tracking(self.facts),))
        if command.kind is CommandKind.IMPORT:
            new = replace(new, handovers=self._handovers())
        return Trigger.CALL, f"{command.kind}#{command.round} claimed", new

    def _handovers(self) -> tuple[Handover, ...]:
        snapshot = self.facts.snapshot
        if snapshot is None:
            return (Handover(at(self.now)),)
        items = tuple((line.id, line.quantity or 1) for line in snapshot.owed_lines)
        return (Handover(at(self.now), items, snapshot.contents, shown_at=age_of(snapshot)[0]),)

    def _result(self, one: Command) -> tuple[str, Facts]:
        instant = at(self.now)
        match self.random.choices(("yes", "yes, not applied", "no", "gave up", "unknown"), (60, 10, 12, 6, 12))[0]:
            case "no":
                code = ALREADY_THERE if one.kind is CommandKind.IMPORT and self.random.random() < 0.3 else "NO"
                maybe_there = one.kind is CommandKind.IMPORT and self.random.random() < 0.3
                no = Rejection(one.kind, one.carries, one.round, one.basis, instant, code, "words", maybe_there)
                is_doubted = code == "NO" and self.random.random() < 0.2
                doubts = (Doubt(one.kind, one.carries, one.round),) if is_doubted else ()
                return "no, to others too" if doubts else "no", Facts(rejections=(no,), doubts=doubts)
            case "gave up":
                return "gave up", Facts(given_up=(GiveUp(one.kind, one.carries, one.round),))
            case "unknown":
                operation = "M11" if one.kind is CommandKind.IMPORT and self.has_messages else one.kind.operation
                keeps_failing = Trouble(one.kind, one.carries, one.round, instant, operation, "5xx")
                over = Recovery(one.kind, one.carries, one.round, operation, instant - timedelta(seconds=1))
                recoveries = (over,) if self.random.random() < 0.3 else ()
                return "unknown", Facts(troubles=(keeps_failing,), recoveries=recoveries)
            case yes:
                proof_after = instant + timedelta(seconds=GRACE_SECONDS)
                new = Facts(answers=(Answer(one.kind, one.carries, one.round, instant, proof_after),))
                if one.kind is CommandKind.IMPORT:
                    return yes, self._imported(new)
                if yes == "yes":
                    self._applied(one)
                return yes, new

    def _applied(self, one: Command) -> None:
        if one.kind is CommandKind.TRACK:
            self.shown = next((sent for sent in self.facts.sent if carried(sent) == one.carries), self.shown)
        elif one.kind is CommandKind.CONFIRM and "SHIPPED" in self.life:
            self.place = max(self.place, self.life.index("SHIPPED"))
        elif one.carries == DecisionKind.REFUSE:
            self.odd_state = "REFUSED"
        elif one.carries.startswith(f"{DecisionKind.ACCEPT}:"):
            accepted = answers_of_lines(one.carries, self.lines)
            self.lines = tuple(line if accepted[line.id] else replace(line, state="REFUSED") for line in self.lines)
            self.place = max(self.place, self.life.index("WAITING_ACCEPTANCE") + 1)
        elif self.life[self.place] == "WAITING_ACCEPTANCE":
            self.place += 1

    def _imported(self, new: Facts) -> Facts:
        """The OMS's answer: one part or two, with lines, without, or with some; with an error, or canceled at once."""
        ids = [line.id for line in self.lines]
        several = len(ids) > 1 and self.random.random() < 0.4
        shares = [ids[:1], ids[1:]] if several else [ids]
        if self.random.random() < 0.15:
            shares = [ids[:1]]  # the answer leaves lines out
        parts = tuple(
            Part(n + 1, "", tuple(share) if self.random.random() < 0.8 else (), self.random.random() < 0.1)
            for n, share in enumerate(shares)
        )
        canceled = (Cancellation(1),) if self.random.random() < 0.05 else ()
        return replace(new, parts=parts, cancellations=canceled)

    # -- The OMS -------------------------------------------------------------------------------------------------

    def _oms(self) -> tuple[Trigger, str, Facts] | None:
        known = [part.oms_id for part in self.facts.parts]
        if not known and self.random.random() < 0.8:
            return None
        oms_id = self.random.choice([*known, *known, *known, max(known, default=0) + 1])
        reports = (self._status, self._status, self._parcel, self._parcel, self._cancels, self._progress)
        says, new = self.random.choice(reports)(oms_id)
        new = replace(new, receipts=(Receipt(at(self.now), self.random.choice((says, "the same"))),))
        if not any(part.oms_id == oms_id for part in self.facts.parts):
            new = replace(new, parts=(Part(oms_id),))
        return Trigger.OMS_EVENT, f"OMS {oms_id} {says}", new

    def _status(self, oms_id: int) -> tuple[str, Facts]:
        covers = "part" if len({part.oms_id for part in self.facts.parts}) > 1 else "order"
        one = Dispatch(oms_id, at(self.now), self.random.choice(TRACKINGS), (), covers, told_at=at(self.now))
        return f"dispatched the {covers} {one.tracking.number}", Facts(dispatches=(one,))

    def _parcel(self, oms_id: int) -> tuple[str, Facts]:
        line = self.random.choice(self.lines)
        items = ((line.id, self.random.choice((line.quantity or 1, 1))),)
        one = Dispatch(oms_id, at(self.now), self.random.choice(TRACKINGS), items, told_at=at(self.now))
        return f"sent a parcel {items} {one.tracking.number}", Facts(dispatches=(one,))

    def _cancels(self, oms_id: int) -> tuple[str, Facts]:
        items = self.random.choice(((), ((self.lines[0].id, 1),)))
        return f"canceled {items}", Facts(cancellations=(Cancellation(oms_id, items, at(self.now)),))

    def _progress(self, oms_id: int) -> tuple[str, Facts]:
        status = self.random.choice((1, 4, 32, 256, 512))
        new = Facts(statuses=(OmsStatus(oms_id, at(self.now), status),))
        if self.random.random() < 0.1:
            new = replace(new, unread=(Unread(at(self.now), "unknown_status"),))
        return f"status {status}", new

    # -- A person ------------------------------------------------------------------------------------------------

    def _person(self) -> tuple[Trigger, str, Facts] | None:
        acts = list(self._acts())
        if not acts:
            return None
        kind, subject = self.random.choice(acts)
        on = self.facts
        if kind is DecisionKind.SETTLE and self.random.random() < 0.2:
            on, plan_then = self.random.choice(self.earlier)
            subject = _to_settle(on, plan_then.attention)
        return self._decided(kind, subject, on)

    def _decided(self, kind: DecisionKind, subject: tuple[str, ...], on: Facts) -> tuple[Trigger, str, Facts]:
        """The decision of a person who sees `on` of the order."""
        self.decided_on[at(self.now)] = on
        new = Facts(decisions=(Decision(at(self.now), kind, "ana", "reason", subject, seen_in(on)),))
        if kind is DecisionKind.SENT:
            tracking = self.random.choice(TRACKINGS)
            owed = self.facts.owed_lines
            saw = tuple(sorted((line.id, line.quantity or 0) for line in owed))
            word = Dispatch(f.VOUCHED, at(self.now), tracking, covers="order", told_at=at(self.now), vouched=saw)
            new = replace(new, dispatches=(word,))
        if kind is DecisionKind.HANDLED:
            key = CommandKey.parse(subject[0])
            answer = Answer(key.kind, key.carries, key.round, at(self.now), at(self.now))
            new = replace(new, answers=(answer,))
            if key.kind is CommandKind.IMPORT:
                new = replace(new, handovers=self._handovers())
        return Trigger.DECISION, f"{kind} {' '.join(subject)}", new

    def _acts(self) -> Iterator[tuple[DecisionKind, tuple[str, ...]]]:
        """Every decision that `orderflow orders` would take now."""
        standing = self.plan.attention
        if self.state.is_final or self.facts == Facts():
            return
        if not self.is_told(Reason.HELD):
            yield DecisionKind.HOLD, ()
        answered = is_pending(self.facts, last_answer(self.facts, CommandKind.ACCEPT))
        if self.facts.snapshot and self.facts.snapshot.state == "WAITING_ACCEPTANCE" and not answered:
            for kind in (DecisionKind.ACCEPT, DecisionKind.REFUSE):
                yield kind, ()
                yield kind, (self.random.choice(self.lines).id,)
        importing = any(one.kind is CommandKind.IMPORT for one in self.in_flight)
        if self.facts.snapshot and self.facts.snapshot.owed_lines and self.state is not State.NEW and not importing:
            yield DecisionKind.SENT, ()
        if free := tuple(one.token for one in standing if one.about.ends_by is EndsBy.RELEASE):
            yield DecisionKind.RELEASE, free
        if seen := [one for one in standing if can_be_settled(one)]:
            yield DecisionKind.SETTLE, _to_settle(self.facts, seen)
            yield DecisionKind.SETTLE, _to_settle(self.facts, [self.random.choice(seen)])
        if again := self._without_success():
            yield DecisionKind.RETRY, tuple(str(key.next_round) for key in again)
        under_way = {one.kind for one in self.in_flight}
        for key in (*(one.key for one in self.plan.due), *again):
            if key.kind not in under_way:
                yield DecisionKind.HANDLED, (str(key),)

    def _without_success(self) -> tuple[CommandKey, ...]:
        """The last round of each call, if it was refused, given up, or never applied."""
        never_applied = {one.command for one in self.plan.attention if one.reason is Reason.NOT_APPLIED}
        last: dict[tuple[str, str], Answer | Rejection | GiveUp] = {}
        ends: tuple[Answer | Rejection | GiveUp, ...]
        ends = (*self.facts.answers, *self.facts.rejections, *self.facts.given_up)
        for end in ends:
            before = last.get((end.kind, end.carries))
            if before is None or before.round < end.round:
                last[end.kind, end.carries] = end
        return tuple(
            CommandKey(CommandKind(end.kind), end.carries, end.round)  # type: ignore[call-arg]
            for end in last.values()
            if not isinstance(end, Answer) or end.kind in never_applied
        )

    # -- Time ----------------------------------------------------------------------------------------------------

    def _clock(self) -> tuple[Trigger, str, Facts] | None:
        """The event that housekeeping makes when the instant `wakes_at` of the plan has passed."""
        wakes_at: datetime | None = self.plan.wakes_at
        if wakes_at is None:
            return None
        self.now = max(self.now, (wakes_at - at(0)).total_seconds())
        return Trigger.CLOCK, "the clock", Facts(clock=at(self.now))

    def _gone(self) -> tuple[Trigger, str, Facts] | None:
        """A read by id that does not show the order, sometimes a day later."""
        self.now += self.random.choice((0, 90_000))
        if not is_next_miss(self.facts, self.policy, at(self.now)):
            return None
        return Trigger.SNAPSHOT, "is not shown", Facts(not_found=(at(self.now),))
