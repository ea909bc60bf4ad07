"""Questions that several rules ask of the facts of an order."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from typing import Final

from statemachine.asked_once import asked_once
from statemachine.commands import CommandKind, Policy
from statemachine.facts import (
    AFTER_SHIPPING,
    DEBIT,
    DEBITS_FIRST,
    DEBITS_LATE,
    EPOCH,
    EVERY_LINE,
    VOUCHED,
    Answer,
    Decision,
    DecisionKind,
    Dispatch,
    Facts,
    Line,
    Snapshot,
    Tracking,
    Withdrawn,
)
from statemachine.questions.parcels import sent_quantity
from statemachine.questions.parts import (
    parts_in_oms,
    parts_with,
    pieces_canceled_in,
    pieces_held,
    sent_by_status,
    shown_pieces,
)
from statemachine.questions.payloads import our_payloads, what_oms_got
from statemachine.questions.settled import at_most_by_settles, taken_out

# -- Mirakl and the OMS ------------------------------------------------------------------------------------------


def mirakl_state(facts: Facts) -> str:
    """The newest state that Mirakl showed, of those that we know; empty if no read showed one."""
    return facts.snapshot.state if facts.snapshot else ""


def debit_comes_first(facts: Facts) -> bool:
    """Whether Mirakl debits the customer before the shipment, as far as is known. Without a workflow it counts so."""
    return facts.snapshot is not None and facts.snapshot.workflow in DEBITS_FIRST


def last_answer(facts: Facts, kind: str, carries: str | None = None) -> Answer | None:
    """The answer whose proof is due last. With `carries`, only answers to commands that carried this text."""
    if not facts.answers:  # most orders have none; this saves time, because several predicates ask
        return None
    answers = [a for a in facts.answers if a.kind == kind and carries in (None, a.carries)]
    return max(answers, key=lambda answer: (answer.proof_after, answer), default=None)


def is_pending(facts: Facts, answer: Answer | None) -> bool:
    """Whether there is an answer, and no read has come yet that began after its grace period (docs/rules.md 16)."""
    return answer is not None and (facts.snapshot is None or facts.snapshot.read_at <= answer.proof_after)


def was_read_by_earlier_version(facts: Facts) -> bool:
    """Whether an earlier version of orderflow stored the newest read. That version kept neither refunds nor the
    fulfilment centre, so what is owed is not known until the next read (docs/rules.md 17)."""
    return facts.snapshot is not None and not facts.snapshot.import_digest


def has_no_baseline(facts: Facts) -> bool:
    """Whether the order is ready for an import, and only an earlier version, which kept no baseline, stored that."""
    ready = facts.snapshot is not None and facts.snapshot.state == "SHIPPING" and facts.snapshot.has_address
    return ready and facts.baseline is None


def was_shipped(facts: Facts, workflow: str) -> bool:
    """Whether a read showed the order shipped.

    Earlier versions set `shipped_seen` by a debit alone, also in workflows in which Mirakl may debit before the
    shipment. There `shipped_seen` proves nothing (docs/rules.md 3).
    """
    return facts.shipped_shown or (facts.shipped_seen and workflow not in DEBITS_LATE)


def is_sent(facts: Facts, line: Line) -> bool:
    """Whether dispatched statuses cover the line in every part, or the parcels hold all its pieces (docs/kornitx.md
    9.5)."""
    sent = {dispatch.oms_id for dispatch in facts.dispatches if dispatch.covers and covers(facts, dispatch, line)}
    return VOUCHED in sent or (bool(sent) and not _waits_in_parts(facts, line, sent)) or in_parcels(facts, line)


def _waits_in_parts(facts: Facts, line: Line, sent: AbstractSet[int]) -> bool:
    """Whether the parts in `sent` have some pieces of the line, and another part has more that have not left, and that
    the OMS did not end."""
    holders = parts_with(facts, line.id)
    return bool(holders & sent) and any(
        not (is_ended_in_oms(facts, one, line.id) or _left_from(facts, one, line)) for one in holders - sent
    )


def in_parcels(facts: Facts, line: Line) -> bool:
    """Whether the parcels hold all pieces of the line."""
    pieces = pieces_of(facts, line)
    return pieces is not None and sent_quantity(facts, line.id) >= max(pieces, 1)


def pieces_of(facts: Facts, line: Line) -> int | None:
    """How many pieces Mirakl shows of the line or, if it names no number, how many the import sent. None: not known."""
    if line.quantity is not None:
        return line.quantity
    sent = [dict(one.items).get(line.id) for one in what_oms_got(facts)]
    return next((pieces for pieces in reversed(sent) if pieces is not None), None)


def ordered_pieces(facts: Facts, line: Line) -> int | None:
    """How many pieces of the line were to be sent. After a return Mirakl may show fewer: then as many as the reads
    showed before the line left. None: Mirakl names no number."""
    return None if line.quantity is None else max(line.quantity, dict(facts.to_send).get(line.id, 0))


def covers(facts: Facts, dispatch: Dispatch, line: Line) -> bool:
    """Whether this status says that the line left. It does not if the OMS has fewer pieces than Mirakl shows.

    The lines of a part are not known if the OMS made the part after the answer to the import. Such a part counts as
    having the lines of the parts that the OMS ended. A line that no part has is sent if parcels hold it, or if a person
    vouches for the order.
    """
    if dispatch.oms_id == VOUCHED:
        return _is_vouched(dispatch, line)
    if line.is_owed and _lacks_pieces(facts, line):
        return False
    if dispatch.covers == "order":
        return line.id not in lines_not_imported(facts) and not _lists_parcels_only(facts, dispatch.oms_id)
    own = parts_in_oms(facts).get(dispatch.oms_id)
    return line.id in own if own else _is_ended_where_known(facts, line.id)


def _is_vouched(dispatch: Dispatch, line: Line) -> bool:
    """Whether the person who vouches saw these pieces. A line that is not to be sent now adds nothing to send. A vouch
    for a line of which a part was taken back covers no piece that is to be sent again."""
    if not line.is_owed or dispatch.vouched == EVERY_LINE:
        return True
    saw = dict(dispatch.vouched).get(line.id)
    if saw is None or (saw < 0 and line.withdrawn is not Withdrawn.PART):
        return False
    return saw == 0 or line.quantity is None or line.quantity <= abs(saw)


def is_vouched(facts: Facts, *lines: Line) -> bool:
    """Whether a person vouches that these lines left."""
    vouches = [one for one in facts.dispatches if one.oms_id == VOUCHED]
    return bool(vouches) and all(any(_is_vouched(one, line) for one in vouches) for line in lines)


def _lists_parcels_only(facts: Facts, oms_id: int) -> bool:
    """Whether parcels alone tell which lines of this order of the OMS were sent, because its dispatched status cannot.

    The condition: no part has known lines (the answer to the import was lost, or named none), and the first report with
    a dispatched status names lines of ours in its parcels. A line that this report does not name may be one that the
    OMS never had.
    """
    return not any(part.lines for part in facts.parts) and names_lines_as_sent(facts, oms_id)


def names_lines_as_sent(facts: Facts, oms_id: int) -> bool:
    """Whether the first report with a dispatched status of this order of the OMS names lines of ours in its parcels."""
    ours = [one for one in facts.dispatches if one.oms_id == oms_id and one.told_at > EPOCH]
    first = min((one.told_at for one in ours if one.covers), default=None)
    lines = {line.id for line in facts.lines}
    return any(line in lines for one in ours if one.told_at == first for line, _ in one.items)


def _lacks_pieces(facts: Facts, line: Line) -> bool:
    """Whether the OMS has fewer pieces of the line than Mirakl shows, as far as is known.

    The OMS has at most what it got (of several things that it may have got: the least), what its answer shows, and what
    a person settled. That a person settled more pieces does not show that the OMS makes them.
    """
    got, owed, shown = what_oms_got(facts), pieces_of(facts, line), shown_pieces(facts).get(line.id)
    at_most = [] if shown is None else [shown]
    for items in (dict(one.items) for one in got if one.items):
        if line.id in items or shown is None:
            at_most.append(items.get(line.id, 0))
    at_most += at_most_by_settles(facts, got[0].at if got else EPOCH, line)
    return owed is not None and any(number < owed for number in at_most)


@asked_once
def lines_not_imported(facts: Facts) -> tuple[str, ...]:
    """The lines that the import sent and that no part has. Empty if the OMS's answer named no lines."""
    sent, imported = our_payloads(facts), {line for part in facts.parts for line in part.lines}
    if not sent or not imported:
        return ()
    return tuple(line for line, _ in sent[-1].items if line not in imported)


def alive_parts(facts: Facts) -> set[int]:
    """The OMS ids of the parts that the OMS did not cancel as a whole, or makes again since."""
    return {part.oms_id for part in facts.parts} - ended_in_oms(facts)


def is_canceled_by_oms(facts: Facts) -> bool:
    """Whether the OMS canceled each of its orders and makes none again, so that nobody there makes anything."""
    return bool(facts.parts) and not alive_parts(facts)


@asked_once
def ended_in_oms(facts: Facts) -> set[int]:
    """The OMS's orders that it canceled as a whole and does not make again. It makes an order again if it showed
    another status after its newest report of the cancellation. If no such report has a time, the order stays ended."""
    ended: dict[int, datetime] = {}
    for one in facts.cancellations:
        if not one.items:
            ended[one.oms_id] = max(ended.get(one.oms_id, EPOCH), one.told_at)
    for shown in facts.statuses:
        if shown.status == _CANCELED and shown.oms_id in ended:
            ended[shown.oms_id] = max(ended[shown.oms_id], shown.at)
    return {oms_id for oms_id, at in ended.items() if at == EPOCH or not _shown_since(facts, oms_id, at)}


def _shown_since(facts: Facts, oms_id: int, at: datetime) -> bool:
    return any(one.oms_id == oms_id and one.at > at for one in facts.statuses)


def first_reported(facts: Facts, oms_id: int) -> datetime:
    """When the OMS first reported on one of its orders. EPOCH: it did not."""
    return min((one.at for one in facts.statuses if one.oms_id == oms_id), default=EPOCH)


#: The status of an order that the OMS canceled (docs/kornitx.md 8.1).
_CANCELED: Final = 128


def is_ended_in_oms(facts: Facts, oms_id: int, line_id: str) -> bool:
    """Whether the OMS canceled this part, or all pieces of this line in it."""
    if oms_id in ended_in_oms(facts):
        return True
    canceled, held = pieces_canceled_in(facts, oms_id, line_id), pieces_held(facts, oms_id, line_id)
    ordered = [pieces_of(facts, line) for line in facts.lines if line.id == line_id]
    known = held or [pieces for pieces in ordered if pieces is not None]
    return canceled > 0 and (bool(known) or not ordered) and canceled >= max(known, default=1)


def may_have(facts: Facts, line_id: str) -> list[int]:
    """The OMS's orders that have this line, or of which no line is known, so that they may have it."""
    return [oms_id for oms_id, lines in parts_in_oms(facts).items() if line_id in lines or not lines]


def is_ended_everywhere(facts: Facts, line_id: str) -> bool:
    """Whether the OMS ended this line in each of its orders that has it, or may have it."""
    known = _is_ended_where_known(facts, line_id)
    return known and all(is_ended_in_oms(facts, oms_id, line_id) for oms_id in may_have(facts, line_id))


def _is_ended_where_known(facts: Facts, line_id: str) -> bool:
    """Whether parts are known to have this line, and the OMS ended it in each of them. Then the order does not wait for
    it, and a part whose lines are not known may have it now."""
    holders = parts_with(facts, line_id)
    return bool(holders) and all(is_ended_in_oms(facts, oms_id, line_id) for oms_id in holders)


@asked_once
def lines_left_out(facts: Facts) -> tuple[Line, ...]:
    """Lines that the OMS got, or may have got, and that the newest read does not show: nothing of them is owed now."""
    shown = {line.id for line in facts.lines}
    sent = dict.fromkeys(line for got in what_oms_got(facts) for line, pieces in got.items if pieces)
    return tuple(Line(line_id, quantity=0) for line_id in sent if line_id not in shown) if facts.snapshot else ()


@asked_once
def all_sent(facts: Facts) -> bool:
    """Whether the OMS sent every owed line. Lines that it ended do not count. A line that the newest read leaves out
    counts until a person settles that it was taken out: Mirakl says of it neither that it is owed nor that it is not.

    If no line is owed any more: whether Mirakl shows the order shipped, or the OMS sent every line. False as long as
    nothing was reported sent.
    """
    if facts.snapshot is None or not facts.dispatches:
        return False
    owed = facts.snapshot.owed_lines
    if not owed and facts.snapshot.state in AFTER_SHIPPING:
        return True
    lines = owed or facts.snapshot.lines
    lines += tuple(one for one in lines_left_out(facts) if lines and taken_out(facts, one.id) is None)
    if facts.cancellations:  # a dispatch though the OMS ended every line: it made them again, so every line counts
        lines = tuple(line for line in lines if not _is_ended_where_known(facts, line.id)) or lines
    return bool(lines) and all(is_sent(facts, line) for line in lines)


@asked_once
def unsent_parts(facts: Facts) -> tuple[int, ...]:
    """OMS ids of the parts that are not sent yet. OR24 ships the whole order, so it waits for every known part, unless
    a person vouches for all that is to be sent.

    A part counts while the OMS has not ended it and one of its lines is owed (docs/kornitx.md 9.5).
    """
    owed = facts.owed_lines
    if is_vouched(facts, *owed):
        return ()
    lines_of = parts_in_oms(facts)
    if len(lines_of) == 1 or all(in_parcels(facts, line) for line in owed):
        return ()
    sent = sent_by_status(facts)
    unsent = []
    for oms_id in lines_of.keys() - sent:
        own = [line for line in owed if line.id in lines_of[oms_id] and not is_ended_in_oms(facts, oms_id, line.id)]
        waits = not all(_left_from(facts, oms_id, line) for line in own)
        if waits or not (lines_of[oms_id] or is_ended_in_oms(facts, oms_id, "")):
            unsent.append(oms_id)
    return tuple(sorted(unsent))


def _left_from(facts: Facts, oms_id: int, line: Line) -> bool:
    """Whether parcels hold all pieces of the line, or the parcels of this part hold all pieces that the part has."""
    held = pieces_held(facts, oms_id, line.id)
    own = replace(facts, dispatches=tuple(one for one in facts.dispatches if one.oms_id == oms_id))
    return in_parcels(facts, line) or (bool(held) and sent_quantity(own, line.id) >= max(held))


#: The longest text of a command's content, in bytes. An index of the database holds the text, and PostgreSQL refuses a
#: row of an index that is longer than a third of a page, 2,704 bytes. A longer tracking is carried as a digest, a
#: longer list of lines as `answers_of_lines` says.
LONGEST_CARRIED: Final = 500

# -- What to tell Mirakl -----------------------------------------------------------------------------------------


def last_decision(facts: Facts, *kinds: DecisionKind) -> Decision | None:
    """The newest decision of these kinds."""
    return max((one for one in facts.decisions if one.kind in kinds), default=None)


def acceptance(facts: Facts, policy: Policy) -> str | None:
    """What to answer Mirakl, as a command carries it: `accept`, `refuse`, or one of two forms that accept only some
    lines (`answers_of_lines`). None if a person has to decide."""
    lines = facts.lines
    decision = last_decision(facts, DecisionKind.ACCEPT, DecisionKind.REFUSE)
    if decision is not None:
        if not decision.subject:
            return decision.kind
        wanted = decision.kind is DecisionKind.ACCEPT
        # A yes to lines that are gone says nothing of the others.
        are_gone = wanted and not any(line.is_owed and line.id in decision.subject for line in lines)
        yes = {line.id for line in lines if (line.id in decision.subject) == wanted}
        return None if are_gone else _answer(lines, yes)
    if not lines or policy.acceptance == "hold":
        return None
    unknown = unknown_skus(facts, policy)
    if not unknown:
        return DecisionKind.ACCEPT
    if policy.unknown_skus == "hold":
        return None
    return _answer(lines, {line.id for line in lines if line.sku not in unknown})


def unknown_skus(facts: Facts, policy: Policy) -> tuple[str, ...]:
    """The SKUs because of which the order is not simply accepted: the shop's list of known SKUs does not name them."""
    if facts.snapshot is None or policy.acceptance != "known-skus":
        return ()
    return tuple(sorted({line.sku for line in facts.snapshot.lines} - policy.known_skus))


def _answer(lines: Sequence[Line], yes: AbstractSet[str]) -> str:
    """What a command carries to accept the lines whose ids are in `yes`, and refuse the others. `answers_of_lines`
    reads it."""
    accepted = sorted(line.id for line in lines if line.id in yes)
    if len(accepted) == len(lines):
        return DecisionKind.ACCEPT
    if not accepted:
        return DecisionKind.REFUSE
    named = f"{DecisionKind.ACCEPT}:{','.join(accepted)}"
    if len(named.encode()) <= LONGEST_CARRIED and not any("," in line_id for line_id in accepted):
        return named
    ids = sorted(line.id for line in lines)
    mask = sum(1 << position for position, line_id in enumerate(ids) if line_id in yes)
    return f"{DecisionKind.ACCEPT}#{mask:x}#{_short(','.join(ids))}"


def answers_of_lines(carries: str, lines: Sequence[Line]) -> dict[str, bool]:
    """For each line whether an acceptance that carries this accepts it. OR21 names every line of the order.

    An acceptance of many lines, or of one whose id has a comma, carries the places of the accepted ones among the
    sorted ids of all, and a digest of these ids. If the order has other lines by now, nothing is returned.
    """
    if carries in (DecisionKind.ACCEPT, DecisionKind.REFUSE):
        return {line.id: carries == DecisionKind.ACCEPT for line in lines}
    if carries.startswith(f"{DecisionKind.ACCEPT}#"):
        _, mask, digest = carries.split("#")
        ids = sorted(line.id for line in lines)
        if digest != _short(",".join(ids)):
            return {}
        return {line_id: bool(int(mask, 16) >> position & 1) for position, line_id in enumerate(ids)}
    yes = carries.removeprefix(f"{DecisionKind.ACCEPT}:").split(",")
    return {line.id: line.id in yes for line in lines}


def tracking_held(facts: Facts) -> Tracking:
    """The tracking that Mirakl holds, as far as we know: the last that it took from us, until a read has to show
    it. From then on, the one that the newest read shows.

    A tracking of ours is returned as we sent it: Mirakl may show the carrier's code or label for the name that we sent.
    """
    answer = last_answer(facts, CommandKind.TRACK)
    shown = facts.snapshot.tracking if facts.snapshot else Tracking()
    not_read_yet = is_pending(facts, answer)
    ours = [sent for sent in facts.sent if not_read_yet or shown.shows(sent)]
    last = next((sent for sent in ours if answer and carried(sent) == answer.carries), None)
    return last or (shown if not_read_yet else max(ours, default=shown))


def is_shown(facts: Facts, shown: Tracking, sent: Tracking) -> bool:
    """Whether `shown`, from a read, is the tracking `sent`, which Mirakl took from us.

    For a tracking without a number Mirakl can show a registered carrier, whose code and label are not the OMS's name.
    So then any carrier counts, except that of another tracking that we tried to send.
    """
    if shown.shows(sent):
        return True
    is_older = any(shown.shows(one) for one in facts.sent)
    return bool(shown) and not (sent.number or shown.number or is_older)


def carried(tracking: Tracking) -> str:
    """A tracking as a command carries it: its text, or a digest of a text that is longer than LONGEST_CARRIED."""
    text = " | ".join((tracking.carrier, tracking.number, tracking.url))
    return text if len(text.encode()) <= LONGEST_CARRIED else f"#{_short(text)}"


def _short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:32]


def takes_tracking(snapshot: Snapshot) -> bool:
    """Whether Mirakl takes a tracking now: from SHIPPING on, but not in CLOSED, REFUSED or CANCELED. Connectors were
    observed to send one after SHIPPED (docs/mirakl.md 5.4)."""
    if snapshot.state in DEBIT:
        return snapshot.workflow not in DEBITS_FIRST
    return snapshot.state == "SHIPPING" or (snapshot.state in AFTER_SHIPPING and snapshot.state != "CLOSED")


def is_foreign_tracking(facts: Facts, shown: Tracking) -> bool:
    """Whether Mirakl shows a number that we never tried to send.

    A carrier without a number does not count: it may be the operator's default.
    """
    return bool(shown.number) and not any(shown.shows(sent) for sent in facts.sent)
