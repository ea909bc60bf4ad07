"""One reason of one order with what it can rest on, and the words for lines, trackings, reads and orders in the OMS.

No text holds personal data.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from consumer.operations.instants import to_the_second
from consumer.operations.lines import withdrawals_of
from statemachine.attention.urgency_of_order import may_have_line
from statemachine.commands import Policy
from statemachine.facts import AFTER_SHIPPING, EPOCH, Facts, Line, Snapshot, Tracking, Withdrawn
from statemachine.questions.before_shipment import PIECES
from statemachine.questions.in_oms import is_confirmed_by_us
from statemachine.questions.other_values import LEFT_OUT, shown_since
from statemachine.questions.parts import parts_in_oms
from statemachine.questions.payloads import import_known, our_payloads, what_oms_got
from statemachine.questions.readings import alive_parts, is_canceled_by_oms, is_ended_everywhere, is_sent
from statemachine.questions.stops import INCIDENT, stood_at_shipment
from statemachine.reason_of_order import Attention


@dataclass(frozen=True, slots=True)
class Case:
    """One reason of one order, with what it can rest on."""

    one: Attention
    facts: Facts
    policy: Policy
    received: bytes | None = None  # the order as Mirakl showed it; None: not stored


def named(line: Line) -> str:
    """A line as a seller knows it: its id and its SKU."""
    return f"{line.id} ({line.sku})" if line.sku else line.id


def oms_order(facts: Facts, oms_id: int) -> str:
    """One order in the OMS, by its id and the reference that the OMS shows."""
    ref = next((part.ref for part in facts.parts if part.oms_id == oms_id and part.ref), "")
    return f"OMS order {oms_id}" + (f" ({ref})" if ref else "")


def moment(instant: datetime) -> str:
    return to_the_second(instant) if instant > EPOCH else "an unknown time"


def tracking_in_words(tracking: Tracking) -> str:
    return f"{tracking.carrier or tracking.carrier_code} {tracking.number}".strip() or "no tracking"


def shown_between(facts: Facts, line: Line) -> str:
    """Which other numbers of pieces Mirakl showed since the OMS got the order."""
    values = [one for got in what_oms_got(facts)[:1] for one in shown_since(facts, PIECES + line.id, got, None)]
    shown = ", ".join("left it out" if one == LEFT_OUT else f"showed {one}" for one in values)
    return f", and {shown} since the import" if shown else ""


def unsent_lines(facts: Facts) -> list[Line]:
    """The lines that are to be sent, and of which the OMS did not report all sent."""
    return [line for line in facts.owed_lines if not is_sent(facts, line)]


def others_to_send(facts: Facts, lines: Collection[Line]) -> list[Line]:
    """The lines beside these of which the OMS did not report all sent, though they are to be sent."""
    return [line for line in unsent_lines(facts) if line not in lines]


def is_marked_by_us(facts: Facts, line: Line) -> bool:
    """Whether Mirakl shows the line shipped, and perhaps only because our OR24 marked every line of the order so."""
    return is_confirmed_by_us(facts) and line.state in AFTER_SHIPPING and not line.is_taken_back


def was_marked_in_incident(facts: Facts, line: Line) -> bool:
    """Whether our OR24 reported the order shipped while Mirakl showed an incident of the line. It marked the line too,
    so the newest read perhaps does not show the incident any more."""
    return is_confirmed_by_us(facts) and stood_at_shipment(facts, line, INCIDENT)


def mirakl_shows(snapshot: Snapshot | None) -> str:
    return f"Mirakl shows {snapshot.state}, updated {moment(snapshot.updated_at)}" if snapshot else ""


def orders_in_oms(facts: Facts) -> str:
    """The orders in the OMS that it did not cancel."""
    alive = sorted(alive_parts(facts))
    if facts.parts and not alive:
        return "all canceled"
    return ", ".join(oms_order(facts, oms_id) for oms_id in alive) or "an import whose order in the OMS is not known"


def trackings_sent(facts: Facts) -> str:
    """The trackings under which goods left, each once."""
    each = dict.fromkeys(f"{tracking_in_words(one.tracking)} on {moment(one.at)}" for one in facts.dispatches)
    return f"sent: {', '.join(each)}"


def state_of_line(line: Line) -> str:
    taken = {
        Withdrawn.WHOLE: "refunded or canceled",
        Withdrawn.PRICE: "refunded",
        Withdrawn.PART: "in part refunded or canceled",
    }
    if line.withdrawn is Withdrawn.PART and not line.is_owed:
        return line.state or "0 pieces"  # nothing of it is left, whatever was withdrawn before
    return " ".join(dict.fromkeys(one for one in (line.state, taken.get(line.withdrawn, "")) if one)) or "without state"


def withdrawals(case: Case, line: Line) -> str:
    """Each refund and cancelation of the line with its amount, as far as the read that shows it is stored."""
    return " and ".join(withdrawals_of(case.received, line.id)) or "a cancelation or refund of a part"


def whether_in_oms(facts: Facts, line: Line) -> str:
    """Whether the OMS has the line, as far as the import and the OMS's reports tell."""
    got, held = what_oms_got(facts), {one for lines in parts_in_oms(facts).values() for one in lines}
    if is_canceled_by_oms(facts):
        return "the OMS canceled the order"
    if is_ended_everywhere(facts, line.id):
        return "the OMS canceled it"
    pieces = [dict(one.items).get(line.id, 0) for one in got]
    if line.id in held or (pieces and all(pieces)):
        return "the OMS has it"
    if import_known(facts) and not held and not any(one.items for one in got):
        return "the OMS has the order, and its lines are not known"
    return "the OMS may have it" if may_have_line(facts, line) else "the OMS does not have it"


def pieces_in_words(count: int | None) -> str:
    return "an unknown number" if count is None else f"{count}"


def in_pieces(count: int | None) -> str:
    return "an unknown number of pieces" if count is None else f"{count} pieces"


def imported_at(case: Case) -> str:
    got = what_oms_got(case.facts)
    when = " or ".join(moment(one.at) for one in got)
    if got and not our_payloads(case.facts):
        return f"somebody else sent the order to the OMS; compared with what Mirakl showed at {when}"
    return f"the OMS has the order as Mirakl showed it at {when}" if got else ""


def joined(texts: Iterable[str]) -> str:
    return "; ".join(text for text in texts if text)
