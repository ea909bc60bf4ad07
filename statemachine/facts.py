"""The facts of one order: everything known of it, and what is owed of its lines.

joining.py joins two sets of facts. Sets are sorted tuples, so that equal facts are equal JSON.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from statemachine.asked_once import KeepsAnswers
from statemachine.failures import Doubt, GiveUp, Recovery, Rejection, Trouble
from statemachine.reads_kept import LastOpen, NotShown, Shown

#: Before every instant that a remote can name.
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# -- Mirakl's words (docs/mirakl.md 4.2, 4.4) --------------------------------------------------------------------

PAY_ON_ACCEPTANCE: Final = "PAY_ON_ACCEPTANCE"
PAY_ON_SHIPMENT: Final = "PAY_ON_SHIPMENT"
PAY_ON_DELIVERY: Final = "PAY_ON_DELIVERY"
PAY_ON_DUE_DATE: Final = "PAY_ON_DUE_DATE"
#: Mirakl debits the customer before the shipment. That counts also of an order without a workflow.
DEBITS_FIRST: Final = ("", PAY_ON_ACCEPTANCE)
#: Mirakl may debit the customer long after the shipment.
DEBITS_LATE: Final = (PAY_ON_DELIVERY, PAY_ON_DUE_DATE)

DEBIT: Final = ("WAITING_DEBIT", "WAITING_DEBIT_PAYMENT")
AFTER_SHIPPING: Final = ("SHIPPED", "TO_COLLECT", "RECEIVED", "CLOSED")
FINAL: Final = ("REFUSED", "CANCELED")
#: A line in one of these states, or without one, still has to be sent, unless it was withdrawn (docs/mirakl.md 4.4).
OWED_LINE_STATES: Final = frozenset(
    {"", "STAGING", "WAITING_ACCEPTANCE", "WAITING_DEBIT", "WAITING_DEBIT_PAYMENT", "SHIPPING"}
)
#: Lines in these states left the seller already, or will never leave: nothing of them has to be sent.
ENDED_LINE_STATES: Final = frozenset(
    {"SHIPPED", "TO_COLLECT", "RECEIVED", "CLOSED", "REFUSED", "CANCELED", "REFUNDED"}
    | {"WAITING_REFUND", "WAITING_REFUND_PAYMENT", "INCIDENT_OPEN", "INCIDENT_CLOSED"}
)

#: Those of ENDED_LINE_STATES in which the line was canceled, refused or refunded.
_TAKEN_BACK: Final = ("REFUSED", "CANCELED", "REFUNDED", "WAITING_REFUND", "WAITING_REFUND_PAYMENT")

_ACCEPT, _SHIP = ("STAGING", "WAITING_ACCEPTANCE"), ("SHIPPING",)
#: The states of each payment workflow, in the order in which Mirakl shows them. FINAL may follow any of them.
WORKFLOWS: Final = {
    PAY_ON_ACCEPTANCE: _ACCEPT + DEBIT + _SHIP + AFTER_SHIPPING,
    PAY_ON_SHIPMENT: _ACCEPT + _SHIP + DEBIT + AFTER_SHIPPING,
    PAY_ON_DELIVERY: _ACCEPT + _SHIP + ("SHIPPED", "TO_COLLECT") + DEBIT + ("RECEIVED", "CLOSED"),
    PAY_ON_DUE_DATE: _ACCEPT + _SHIP + ("SHIPPED", "TO_COLLECT", "RECEIVED") + DEBIT + ("CLOSED",),
}
_RANK: Final = {
    workflow: {state: rank for rank, state in enumerate((*life, *FINAL))} for workflow, life in WORKFLOWS.items()
}
KNOWN_STATES: Final = frozenset(_RANK[PAY_ON_ACCEPTANCE])


def rank_of(workflow: str, state: str) -> int:
    """The place of `state` among the states of its workflow. The rank decides only between reads of one `updated_at`.

    A missing or unknown workflow counts as PAY_ON_ACCEPTANCE; a state that we do not know ranks below all.
    """
    return _RANK.get(workflow, _RANK[PAY_ON_ACCEPTANCE]).get(state, -1)


# -- Values ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class Tracking:
    """A carrier and a number, as the OMS names them or as Mirakl shows them. What is not known is an empty string."""

    carrier: str = ""
    number: str = ""
    url: str = ""
    carrier_code: str = ""  # only in what Mirakl shows

    def __bool__(self) -> bool:
        return bool(self.carrier or self.number or self.carrier_code)

    def shows(self, sent: "Tracking") -> bool:
        """Whether this tracking, read from Mirakl, is the one that we sent.

        The numbers decide. Without a number the carrier decides (docs/kornitx.md 11.1): Mirakl may show the name
        that we sent as the code or the label of a registered carrier.
        """
        if sent.number or self.number:
            return self.bare_number == sent.bare_number
        return bool(sent.carrier) and _bare(sent.carrier) in (_bare(self.carrier), _bare(self.carrier_code))

    @property
    def bare_number(self) -> str:
        """The number, to be compared with another."""
        return _bare(self.number)


def _bare(text: str) -> str:
    """The text without spaces, in lower case: carriers print the same number in several ways."""
    return "".join(text.split()).casefold()


class Withdrawn(StrEnum):
    """What cancelations and refund requests took of a line.

    A refund counts from its request on, in any state of the refund: after the debit, a customer cancels by a refund
    (docs/mirakl.md 4.4).
    """

    NONE = ""
    PART = "part"  # of the pieces, or of the price: a person decides what is still to be sent
    WHOLE = "whole"
    #: Refunds cover the price that this read shows: all of the line, unless `Facts.pieces` has more pieces.
    PRICE = "price"


_ALL: Final = (Withdrawn.WHOLE, Withdrawn.PRICE)


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """One order line as Mirakl shows it. `is_owed` alone says whether the seller still has to send it."""

    id: str
    state: str = ""
    sku: str = ""
    quantity: int | None = 1  # pieces; None if Mirakl names no number
    withdrawn: Withdrawn = Withdrawn.NONE
    shipped: bool = False  # Mirakl shows a shipped_date
    withdrawn_at: tuple[datetime, ...] = ()  # when its cancelations and refunds were created; empty: maybe not known
    withdrawn_pieces: int = 0  # that its cancelations and refunds name and pay for, all together; 0: not known
    withdrawn_of_price: bool = False  # they name no piece and are less than one costs; False: not so, or not known

    @property
    def is_owed(self) -> bool:
        """Whether the seller still has to send the line, or a part of it. How much: see `needs_decision`."""
        ended = self.state in ENDED_LINE_STATES or self.quantity == 0 or self.withdrawn in _ALL
        return not ended

    @property
    def is_taken_back(self) -> bool:
        """Whether Mirakl canceled, refused or refunded the line, before or after it left."""
        return self.quantity == 0 or self.withdrawn in _ALL or self.state in _TAKEN_BACK

    @property
    def is_marked(self) -> bool:
        """Whether Mirakl shows the line shipped, by its state or by a `shipped_date`."""
        return self.shipped or self.state in AFTER_SHIPPING

    @property
    def has_incident(self) -> bool:
        """Whether a customer complained, so that the line is not sent any more."""
        return self.state in ("INCIDENT_OPEN", "INCIDENT_CLOSED")

    @property
    def needs_decision(self) -> bool:
        """Whether only a person can tell how much of the line is owed: a part was withdrawn, Mirakl names no quantity,
        or shows a state of the line that we do not know."""
        unclear = self.withdrawn is Withdrawn.PART or self.quantity is None or self.state not in OWED_LINE_STATES
        return self.is_owed and unclear


@dataclass(frozen=True, slots=True, order=True)
class Snapshot:
    """One read of an order (OR11).

    The newest of several snapshots is the greatest one by `age_of`: the first five fields, from the first to the fifth,
    but a date in the future counts as the start of the read (docs/rules.md 2).
    """

    updated_at: datetime  # last_updated_date; the start of the read if Mirakl names none
    rank: int  # see rank_of
    has_address: bool
    read_at: datetime  # when the read began, by our clock
    digest: str  # of the order's canonical JSON; of the bytes, if an earlier version stored it
    state: str
    workflow: str = ""
    created_at: datetime = EPOCH
    ship_by: datetime = EPOCH  # shipping_deadline; EPOCH if Mirakl names none
    shipping_type: str = ""
    has_messages: bool = False
    tracking: Tracking = Tracking()
    lines: tuple[Line, ...] = ()
    can_ship: bool = True  # can_shop_ship; Mirakl shows false before SHIPPING, and if somebody else ships the order
    centre: str = ""  # fulfillment.center.code
    import_digest: str = ""  # of what an import is made of; empty if an earlier version stored it
    accept_by: datetime = EPOCH  # acceptance_deadline; EPOCH if Mirakl names none
    accepted_at: datetime = EPOCH  # acceptance_decision_date; EPOCH before the decision, and if it was automatic
    #: (name, digest) of what an import carries beside lines and pieces (adapters/messages/contents.py). Empty: not
    #: known, because an earlier version stored the read.
    contents: tuple[tuple[str, str], ...] = ()
    #: What a person may have to look at (occurrences.py). None: not known, because an earlier version stored the read.
    shows: tuple[str, ...] | None = None
    references: str = ""  # digest of those in the event (Event.references); empty: none, or not known
    is_compared: bool = False  # with reads before it (before_shipment.py); False: an earlier version stored the read
    is_remembered: bool = False  # by first_shipped and stops_read of Facts; False: an earlier version stored the read
    is_followed: bool = False  # by last_underway of Facts; False: an earlier version stored the read

    @property
    def owed_lines(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if line.is_owed)

    @property
    def is_marked_shipped(self) -> bool:
        """Whether a line has a `shipped_date`, and every line that is to be sent has one."""
        return any(line.shipped for line in self.lines) and all(line.shipped for line in self.owed_lines)


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """One order in the OMS. The OMS may split ours into several (docs/kornitx.md 3)."""

    oms_id: int
    ref: str = ""
    lines: tuple[str, ...] = ()  # empty: not known, because no answer to an import has named them yet
    has_error: bool = False  # the OMS stored the order, and holds it until somebody clears the error
    #: Pieces of each line that the answer to the import shows; empty: not known. parts.shown_pieces adds those of all
    #: parts.
    quantities: tuple[tuple[str, int], ...] = ()


#: The `oms_id` of a dispatch for which a person vouches: what was to be sent then has left, even if the OMS did not
#: report it.
VOUCHED: Final = 0
#: What such a dispatch vouches for if an earlier version stored it.
EVERY_LINE: Final = (("", 0),)


@dataclass(frozen=True, slots=True, order=True)
class Dispatch:
    """A report that goods left: a parcel or a status of the OMS (docs/kornitx.md 9.4, 9.5), or a person who vouches."""

    oms_id: int
    at: datetime  # dispatch_datetime, or the event's time, or when a person said it; never later than `told_at`
    tracking: Tracking = Tracking()
    items: tuple[tuple[str, int], ...] = ()  # (line id, quantity) of a parcel; empty for a status
    covers: str = ""  # of a status: "order", or "part" if the shop had may_split at that time; "" for a parcel
    dated: bool = True  # False: a parcel whose report names no dispatch_datetime, or one after the report
    told_at: datetime = EPOCH  # when the OMS reported it; EPOCH: stored by a version that did not keep it
    #: (line id, pieces) that a person who vouches saw to be sent. 0 pieces: Mirakl named no number. Below 0: so many
    #: pieces, of which Mirakl had taken back a part.
    vouched: tuple[tuple[str, int], ...] = EVERY_LINE
    #: False: the report names no dispatch_datetime at all, so only `told_at` tells how new its tracking is.
    timed: bool = True
    repeated_hour: datetime = EPOCH  # if clocks repeat an hour: the earlier instant that its dispatch_datetime may be


@dataclass(frozen=True, slots=True, order=True)
class OmsStatus:
    """A status that the OMS showed for one of its orders (docs/kornitx.md 8.1)."""

    oms_id: int
    at: datetime
    status: int


@dataclass(frozen=True, slots=True, order=True)
class Unread:
    """A report of the OMS on this order that could not be read. Its bytes are a dead letter."""

    at: datetime
    reason: str  # a word of a closed set (adapters/errors.py)
    fields: str = ""  # the names of those that could not be read; empty: of none, or not known


@dataclass(frozen=True, slots=True, order=True)
class Receipt:
    """A callback of the OMS was received. What it reports has the same time (`told_at`)."""

    at: datetime
    digest: str  # of its content


@dataclass(frozen=True, slots=True, order=True)
class Cancellation:
    """The OMS canceled the order (no items) or some of its lines."""

    oms_id: int
    items: tuple[tuple[str, int], ...] = ()
    told_at: datetime = EPOCH  # when the OMS reported it; EPOCH: stored by a version that did not keep it


@dataclass(frozen=True, slots=True, order=True)
class Attempt:
    """A command was claimed: from here on its call may have happened (docs/rules.md 20).

    After a backup of the store was restored, it is not known which imports were made since the backup. So `offsets
    reset` gives every open order an attempt of its import that carries RESTORED.
    """

    kind: str
    carries: str


@dataclass(frozen=True, slots=True, order=True)
class Handover:
    """What an import carries: its payload no longer changes. Reasons such as `changed_after_import` compare this with
    the newest read."""

    at: datetime
    items: tuple[tuple[str, int], ...] = ()  # (line id, pieces)
    contents: tuple[tuple[str, str], ...] = ()  # of the read that the payload was made of
    notes: tuple[str, ...] = ()  # what a person should know of the payload, in words of a closed set
    #: Mirakl's date of the read that our payload was made of. EPOCH: not known, or a baseline.
    shown_at: datetime = EPOCH


#: The words of `notes`. The first: a message of the customer has a file. The second: the customer wrote, and the import
#: went out without the messages, because Mirakl showed none or refused to show them.
ATTACHMENT: Final = "attachment"
MESSAGES_NOT_FOUND: Final = "messages_not_found"

#: Two of the names in `contents`. The first is followed by the id of a line of which something was withdrawn.
WITHDRAWN_OF: Final = "withdrawn of "
MESSAGES: Final = "messages"
#: In the contents of a baseline, followed by the id of a line that was not to be sent any more: somebody else may have
#: imported the line before that, or not.
UNCLEAR: Final = "unclear "

#: What an attempt carries if the store has no record of it.
RESTORED: Final = "restored"


@dataclass(frozen=True, slots=True, order=True)
class Answer:
    """A remote said yes. It may apply the call later: a read that begins after `proof_after` has to show the effect
    (docs/rules.md 16)."""

    kind: str
    carries: str
    round: int
    at: datetime
    proof_after: datetime
    #: Of an import that the OMS has from an earlier try: the newest handover (`at`) before this try. What this try
    #: carried did not reach the OMS. EPOCH: this try reached it, or that is not known.
    handed_before: datetime = EPOCH


class DecisionKind(StrEnum):
    """What a person can decide about an order."""

    ACCEPT = "accept"  # answer Mirakl yes, also if the shop's policy gives another answer
    REFUSE = "refuse"  # answer Mirakl no
    HOLD = "hold"  # make no call of the order until it is released
    SETTLE = "settle"  # mark reasons as seen, so that they end
    RELEASE = "release"  # end a hold, or let calls be made that wait for a person
    SENT = "sent"  # vouch that the goods have left
    HANDLED = "handled"  # say that a person did by hand what a call should have done
    RETRY = "retry"  # make calls again that ended without success


@dataclass(frozen=True, slots=True, order=True)
class Seen:
    """What was known of an order when a person decided: its newest read, and the OMS's newest report.

    A report or a read may have been in the log already, and not applied. So no clock tells what the person knew.
    """

    #: The age of the read (`age_of`). `read_at` EPOCH: not known, because an earlier version stored the decision.
    updated_at: datetime = EPOCH
    rank: int = -1
    has_address: bool = False
    read_at: datetime = EPOCH
    told_at: datetime = EPOCH  # when the OMS reported; EPOCH: no report was known


@dataclass(frozen=True, slots=True, order=True)
class Decision:
    """What a person decided. `subject` is what the decision covers.

    settle, release: tokens of attention reasons (reasons.py). retry, handled: keys of commands (commands.py). accept,
    refuse: ids of lines, and all other lines get the other answer. No id means every line.
    """

    at: datetime
    kind: DecisionKind
    who: str
    why: str
    subject: tuple[str, ...] = ()
    seen: Seen = Seen()

    def names(self, what: str) -> bool:
        """Whether the decision is about this attention reason, or about a call of this kind."""
        return any(token.startswith(f"{what}:") for token in self.subject)

    def details_of(self, reason: str) -> list[str]:
        """What the tokens of this attention reason name, such as lines or a date. An empty text: nothing."""
        prefix = f"{reason}:"
        return [token.removeprefix(prefix) for token in self.subject if token.startswith(prefix)]


@dataclass(frozen=True, slots=True)
class Facts(KeepsAnswers):
    """Everything that is known of one order. Or what one event adds: then only the fields of that event are filled."""

    snapshot: Snapshot | None = None  # the newest read with a state that we know; predicates use this one
    unknown: Snapshot | None = None  # the newest read with a state that we do not know
    shipped_seen: bool = False  # some read, perhaps an old one, showed the order shipped (docs/rules.md 3)
    #: The same. But earlier versions set shipped_seen for a debit alone, and did not have this field: then it is False.
    shipped_shown: bool = False
    shipped_update: datetime = EPOCH  # the newest update of such a read, or of one with a debit that follows it
    parts: tuple[Part, ...] = ()
    dispatches: tuple[Dispatch, ...] = ()
    cancellations: tuple[Cancellation, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    sent: tuple[Tracking, ...] = ()  # every tracking that we ever tried to send
    answers: tuple[Answer, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    given_up: tuple[GiveUp, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    recoveries: tuple[Recovery, ...] = ()
    decisions: tuple[Decision, ...] = ()
    handovers: tuple[Handover, ...] = ()
    statuses: tuple[OmsStatus, ...] = ()
    unread: tuple[Unread, ...] = ()
    receipts: tuple[Receipt, ...] = ()  # callbacks; an event that the OMS itself publishes has an id, and is none
    #: (line id, the largest number of pieces that a read showed of it). A line that is not in it: one, or not known.
    pieces: tuple[tuple[str, int], ...] = ()
    #: (line id, the fewest pieces that a read showed of it while it was to be sent). After a return Mirakl may show
    #: fewer than were sent. A line that is not in it: not known.
    to_send: tuple[tuple[str, int], ...] = ()
    #: Lines and contents of the oldest read that shows the order ready for an import (joining.py). None: no read did,
    #: or it is not known. If somebody else brought the order into the OMS, nothing else tells what that person sent.
    baseline: Handover | None = None
    #: For each thing that the newest read shows, the newest read that did not show it.
    not_shown: tuple[NotShown, ...] = ()
    #: The newest read before the shipment. None while that is the newest read, and if it is not known.
    last_open: LastOpen | None = None
    #: The oldest read that shows the order shipped. None while that is the newest read, and if it is not known.
    first_shipped: LastOpen | None = None
    #: The newest read that shows the order under way. None while that is the newest read, and if no such read is known.
    last_underway: LastOpen | None = None
    #: Values that reads before the shipment showed and the newest of these reads does not show (other_values.py).
    other_values: tuple[Shown, ...] = ()
    #: (Mirakl's state, the earliest start of a read that showed it), of the states in `SELLER_ACTS` (joining.py).
    seen: tuple[tuple[str, datetime], ...] = ()  # and (a mark or incident, as in `stops`, when first shown)
    #: (why the OMS must not send the order, when Mirakl last showed that). stops.py has the words.
    stops: tuple[tuple[str, datetime], ...] = ()
    stops_read: tuple[tuple[str, datetime], ...] = ()  # (the same, when the last read that showed it began)
    not_found: tuple[datetime, ...] = ()  # reads by id that did not show the order, at most two for each absence
    clock: datetime = EPOCH  # the time is at least this; the only time that the rules read (deadlines.py)

    @property
    def newest(self) -> Snapshot | None:
        """The newest read, whether we know its state or not."""
        return newer(self.snapshot, self.unknown)

    @property
    def settles(self) -> list[Decision]:
        """The decisions by which a person marked attention reasons as seen."""
        return [one for one in self.decisions if one.kind is DecisionKind.SETTLE]

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines of `snapshot`. Empty without a read."""
        return self.snapshot.lines if self.snapshot else ()

    @property
    def owed_lines(self) -> tuple[Line, ...]:
        """Those of `lines` that the seller still has to send."""
        return self.snapshot.owed_lines if self.snapshot else ()


def age_of(one: Snapshot) -> tuple[datetime, int, bool, datetime, str]:
    """The key of docs/rules.md 2. A date in the future counts as the start of its read, so later reads are newer."""
    return min(one.updated_at, one.read_at), one.rank, one.has_address, one.read_at, one.digest


def newer(one: Snapshot | None, other: Snapshot | None) -> Snapshot | None:
    """The newer one of two reads, by `age_of`."""
    if one is None or other is None:
        return one or other
    return max(one, other, key=age_of)
