"""What to do about what the OMS canceled, or what Mirakl took back and the OMS canceled too."""

from collections.abc import Iterator, Sequence
from typing import Final

from consumer.operations.cases import is_marked_by_us, named
from statemachine.attention.canceled_by_oms import (
    canceled_and_to_be_sent,
    is_canceled_as_taken_back,
    is_said_to_have_left,
    left_all_the_same,
    lines_canceled_in,
    missing_pieces,
    names_pieces,
)
from statemachine.attention.canceled_pieces import (
    perhaps_taken_back,
    pieces_canceled,
    pieces_made_again,
    pieces_taken_back,
)
from statemachine.facts import Facts, Line, Withdrawn
from statemachine.questions.in_oms import has_left
from statemachine.questions.missing import not_found_since_read
from statemachine.questions.readings import alive_parts
from statemachine.reason_of_order import Attention

#: What stands for the lines and pieces in a cure that names them.
_THESE: Final = "THESE"

#: What to do about lines that the OMS canceled, and of which Mirakl canceled or refunded as much.
_CURE_OF_CANCELED_BY_BOTH: Final = (
    "Mirakl canceled or refunded the same (`cause`), so nothing is missing: refund nothing more and have nothing made "
    "again. `orders settle ORDER --reason WHY` lets the order's calls go on."
)

#: The same if it is not known how many pieces Mirakl took back.
_CURE_OF_CANCELED_AND_UNKNOWN: Final = (
    "Mirakl took back a part too, and its amounts do not tell how many pieces: ask the operator. If the OMS canceled "
    "as many, refund nothing more and have nothing made again. If it canceled fewer, have the difference taken out "
    "there before it is made; if that has left, arrange its return. If it canceled more, cancel or refund only the "
    "difference in Mirakl's portal, or have it made again. Then `orders settle ORDER --reason WHY`."
)

#: The same if it is not known how many pieces the OMS canceled.
_CURE_OF_UNKNOWN_CANCELED: Final = (
    "Mirakl took back a part too (`cause`), and the OMS's reports do not tell how many pieces it canceled, and of how "
    "many: ask the people of the OMS how many it makes now. If these are all that is to be sent, refund nothing more "
    "and have nothing made again. If it makes more, have the difference taken out there before it is made; if that has "
    "left, arrange its return. If it makes fewer, cancel or refund only the difference in Mirakl's portal, or have it "
    "made again. Then `orders settle ORDER --reason WHY`."
)

#: What to do about lines that the OMS canceled, of which only some are missing.
_CURE_OF_SOME_MISSING: Final = (
    "Missing is only THESE: cancel or refund that in Mirakl's portal, or have it made again. Mirakl does not wait for "
    "the rest (`cause`): refund nothing of it and have nothing of it made again. Then `orders settle ORDER --reason "
    "WHY`; of what is made again, when it has left."
)

#: What to do about one of several orders of the OMS that it canceled, while it makes the others.
_CURE_OF_PART_MISSING: Final = (
    "Missing is only THESE, and the other order in the OMS goes on. Agree with the people of the OMS: cancel or refund "
    "only that in Mirakl's portal, or have it made again. `orders settle ORDER --reason WHY` lets the order's calls go "
    "on: then it is reported shipped as soon as the rest has left. So if that is made again, settle when it has left."
)

#: What to do about lines that the OMS canceled, and that Mirakl shows refunded, canceled, shipped or in an incident.
_CURE_OF_NONE_TO_BE_SENT: Final = (
    "Mirakl shows none of these lines to be sent (`cause`), so nothing is missing: refund nothing more and have "
    "nothing made again. `orders settle ORDER --reason WHY`. Only if nobody sent what is shown shipped, have that made "
    "again, or refund it in Mirakl's portal; then settle."
)

#: What stands for what is said of the other lines in a cure that is about some of them.
_BESIDE: Final = "BESIDE "

#: What to do about lines that the OMS canceled, and of which Mirakl shows an incident. BESIDE: about the other lines.
_CURE_OF_CANCELED_IN_INCIDENT: Final = (
    "Mirakl shows an incident of THESE (`cause`), so have nothing of it made again before that is solved: have it "
    "refunded in Mirakl's portal, unless it is to be sent after all. BESIDE Then `orders settle ORDER --reason WHY`; "
    "of what is made again, when it has left."
)

#: What to do about lines that the OMS canceled, and of which somebody else said that they left.
_CURE_OF_CANCELED_AND_SHIPPED: Final = (
    "Mirakl shows these goods shipped, or a person said that they left. If they left, nothing is missing, so refund "
    "nothing and have nothing made again: `orders settle ORDER --reason WHY`. If nobody sent them, because the order "
    "was marked shipped too early, have the OMS make them again, or refund them in Mirakl's portal; then settle."
)

#: What to do about lines that the OMS canceled, and that only our OR24 for the other lines marked shipped.
_CURE_OF_CANCELED_AND_MARKED_BY_US: Final = (
    "Our OR24 reported the whole order shipped, these lines too. The OMS canceled them, so nobody makes them. Look in "
    "Mirakl's portal how their incident, refund or cancelation ended: have them refunded, unless that is done or they "
    "are to be sent after all, and have nothing made again before. Then `orders settle ORDER --reason WHY`."
)

#: What to do about an order that the OMS canceled and sent all the same, while Mirakl took lines or pieces of it back.
_CURE_OF_CANCELED_AND_LEFT: Final = (
    "The OMS canceled this order there, and reported since that its goods left, though Mirakl took back a part of "
    "what is to be sent. Ask the OMS how many pieces left in all. If these are more than are to be sent, stop that "
    "parcel or arrange its return. Then `orders settle ORDER --reason WHY`."
)

#: What to do about one of several orders of the OMS that it canceled.
_CURE_OF_CANCELED_BESIDE_ANOTHER: Final = (
    "The OMS did not cancel its other order: the `cause` says what became of that one. Ask the OMS whether it holds "
    "all that is to be sent. If it does, nothing is missing, so refund nothing and have nothing made again: `orders "
    "settle ORDER --reason WHY`. If not, have the rest made again, or cancel or refund it in Mirakl's portal; then "
    "settle."
)

#: What to do about lines that the OMS canceled, of an order that Mirakl does not show any more.
_CURE_OF_CANCELED_AND_GONE: Final = (
    "Reads of Mirakl do not show the order any more: have nothing made again before the operator has said what became "
    "of it. If it is gone, nothing is missing: `orders settle ORDER --reason WHY`. If it is to be sent, have the OMS "
    "make it again, then settle."
)

#: What to do about an order that Mirakl does not show any more, and that the OMS canceled.
CURE_OF_GONE_AND_CANCELED: Final = (
    "The OMS canceled it too, so nothing is to be stopped there. Look for the order in Mirakl's portal, and ask the "
    "operator. If it is gone, `orders settle ORDER --reason WHY`. It clears when a read shows the order."
)

#: What to do about lines that Mirakl took back and the OMS canceled too.
CURE_OF_ENDED_IN_OMS: Final = (
    "The OMS canceled it too, so nothing is to be stopped there. Clear the money with the operator, then `orders "
    "settle ORDER --reason WHY`."
)

#: The same for pieces.
_CURE_OF_PIECES_ENDED_IN_OMS: Final = (
    "The OMS canceled as many pieces as Mirakl took back (`cause`), so nothing is to be taken out any more, and "
    "nothing is missing: `orders settle ORDER --reason WHY`."
)

#: What to do about lines that Mirakl took back, and of which the OMS canceled only a part.
_CURE_OF_PART_ENDED_IN_OMS: Final = (
    "The OMS canceled a part of it already. Take out only what the `cause` says is left to be taken out, before it is "
    "made. Then `orders settle ORDER --reason WHY`."
)

#: The same if it is not known how many pieces Mirakl took back.
_CURE_OF_UNKNOWN_ENDED_IN_OMS: Final = (
    "The OMS canceled pieces of it already (`cause`), and Mirakl's amounts do not tell how many it took back: ask the "
    "operator, and take out only the difference before it is made. Then `orders settle ORDER --reason WHY`."
)

#: The same if it is not known how many pieces the OMS makes now. Of a whole line all of them are to be taken out.
_CURE_OF_UNKNOWN_LEFT_IN_OMS: Final = (
    "The OMS canceled all or pieces of it before (`cause`), and its reports do not tell how many it makes now: ask the "
    "people of the OMS, and take out what is not to be sent, before it is made. Then `orders settle ORDER --reason "
    "WHY`."
)

#: What to do about lines that Mirakl took back, and of which the OMS perhaps makes again what it canceled.
_CURE_OF_MADE_AGAIN: Final = (
    "The OMS canceled pieces of it, and perhaps makes these again in another order (`cause`). Ask the OMS how many it "
    "makes now, and take out what is not to be sent, before it is made. Then `orders settle ORDER --reason WHY`."
)

#: The cures of this module.
CURES_OF_CANCELED: Final = (
    _CURE_OF_CANCELED_BY_BOTH,
    _CURE_OF_CANCELED_AND_UNKNOWN,
    _CURE_OF_UNKNOWN_CANCELED,
    _CURE_OF_SOME_MISSING,
    _CURE_OF_PART_MISSING,
    _CURE_OF_NONE_TO_BE_SENT,
    _CURE_OF_CANCELED_IN_INCIDENT,
    _CURE_OF_CANCELED_AND_SHIPPED,
    _CURE_OF_CANCELED_AND_MARKED_BY_US,
    _CURE_OF_CANCELED_AND_LEFT,
    _CURE_OF_CANCELED_BESIDE_ANOTHER,
    _CURE_OF_CANCELED_AND_GONE,
    CURE_OF_GONE_AND_CANCELED,
    CURE_OF_ENDED_IN_OMS,
    _CURE_OF_PIECES_ENDED_IN_OMS,
    _CURE_OF_PART_ENDED_IN_OMS,
    _CURE_OF_UNKNOWN_ENDED_IN_OMS,
    _CURE_OF_UNKNOWN_LEFT_IN_OMS,
    _CURE_OF_MADE_AGAIN,
)


def cure_of_canceled(one: Attention, facts: Facts) -> str:
    """What to do about a reason `oms_canceled`, by what is known of each line. Empty: its own cure says it."""
    lines = lines_canceled_in(one, facts)
    if left_all_the_same(one, facts) and any(_is_taken_back(facts, line) for line in lines):
        return _CURE_OF_CANCELED_AND_LEFT
    if lines and all(is_said_to_have_left(facts, line) for line in lines):
        return _CURE_OF_CANCELED_AND_SHIPPED
    if not_found_since_read(facts):
        return _CURE_OF_CANCELED_AND_GONE
    if any(_is_in_incident(facts, line) for line in lines):
        return _cure_of_incident(one, facts, lines)
    if lines and all(is_marked_by_us_alone(facts, line) for line in lines):
        return _CURE_OF_CANCELED_AND_MARKED_BY_US
    return _cure_of_missing(one, facts, lines)


def _cure_of_missing(one: Attention, facts: Facts, lines: Sequence[Line]) -> str:
    """The same for lines of which perhaps something is missing. Empty: the reason's own cure says it."""
    missing, out = missing_pieces(one, facts), [line for line in lines if is_out(facts, line)]
    is_made_by_another = alive_parts(facts) and not missing and not canceled_and_to_be_sent(facts)
    is_made_again = names_pieces(one) and any(pieces_made_again(facts, line)[0] for line in missing)
    if is_made_again or (is_made_by_another and not names_pieces(one) and len(out) < len(lines)):
        return _CURE_OF_CANCELED_BESIDE_ANOTHER
    these = ", ".join(f"{missing[line.id]} of {named(line)}" for line in lines if line.id in missing)
    unknown = [line for line in lines if line.id in missing and missing[line.id] is None]
    is_known = not unknown
    if out and unknown:
        by_mirakl = any(one.withdrawn is Withdrawn.PART and pieces_taken_back(facts, one) is None for one in unknown)
        return _CURE_OF_CANCELED_AND_UNKNOWN if by_mirakl else _CURE_OF_UNKNOWN_CANCELED
    if out and missing:
        return _CURE_OF_SOME_MISSING.replace(_THESE, these)
    if missing and is_known and not names_pieces(one) and alive_parts(facts):
        return _CURE_OF_PART_MISSING.replace(_THESE, these)
    is_by_mirakl = all(_is_taken_back(facts, line) for line in out)
    of_all = _CURE_OF_CANCELED_BY_BOTH if is_by_mirakl else _CURE_OF_NONE_TO_BE_SENT
    return of_all if out else ""


def is_marked_by_us_alone(facts: Facts, line: Line) -> bool:
    """Whether Mirakl shows the line shipped only because our OR24 marked every line of the order so."""
    left = has_left(facts, line) or is_said_to_have_left(facts, line)
    return is_marked_by_us(facts, line) and not left


def _is_in_incident(facts: Facts, line: Line) -> bool:
    """Whether the line is not sent because of an incident, and the customer did not get the money back."""
    ends = line.is_taken_back or is_said_to_have_left(facts, line) or has_left(facts, line)
    return line.has_incident and not ends


def _cure_of_incident(one: Attention, facts: Facts, lines: Sequence[Line]) -> str:
    """What to do about lines that the OMS canceled, some or all of them in an incident."""
    stopped = [line for line in lines if _is_in_incident(facts, line)]
    beside = "".join(_beside_incident(one, facts, [line for line in lines if line not in stopped]))
    text = _CURE_OF_CANCELED_IN_INCIDENT.replace(_THESE, ", ".join(map(named, stopped)))
    return text.replace(_BESIDE, beside)


def _beside_incident(one: Attention, facts: Facts, lines: Sequence[Line]) -> Iterator[str]:
    """What to do about the canceled lines that are not in an incident. Each sentence ends with a space."""
    missing, out = missing_pieces(one, facts), {line.id for line in lines if is_out(facts, line)}
    if these := [f"{missing[line.id]} of {named(line)}" for line in lines if missing.get(line.id)]:
        yield f"Missing too is {', '.join(these)}: cancel or refund that there, or have it made again. "
    if unknown := [line for line in lines if line.id in missing and missing[line.id] is None]:
        yield f"Ask the operator how many pieces of {', '.join(map(named, unknown))} are to be sent (`cause`). "
    if out - missing.keys():
        yield "Mirakl does not wait for the other lines (`cause`): refund nothing of them and have none made again. "


def is_out(facts: Facts, line: Line) -> bool:
    """Whether the line is not to be sent, or fewer pieces than the OMS got, or somebody said that it left."""
    return not line.is_owed or is_said_to_have_left(facts, line) or _is_taken_back(facts, line)


def _is_taken_back(facts: Facts, line: Line) -> bool:
    """Whether Mirakl took back the line, or pieces of it."""
    return line.is_taken_back or perhaps_taken_back(facts, line)


def cure_of_taken_out(lines: Sequence[Line], facts: Facts) -> str:
    """What to do about lines of which Mirakl took back all or pieces, and of which the OMS canceled some too. Empty: it
    canceled nothing of them."""
    if is_taken_out(lines, facts):
        return CURE_OF_ENDED_IN_OMS if all(line.is_taken_back for line in lines) else _CURE_OF_PIECES_ENDED_IN_OMS
    if any(pieces_made_again(facts, line.id)[0] for line in lines):
        return _CURE_OF_MADE_AGAIN
    if any(pieces_canceled(facts, line.id) is None for line in lines if not line.is_taken_back):
        return _CURE_OF_UNKNOWN_LEFT_IN_OMS
    in_part = [line for line in lines if pieces_canceled(facts, line.id)]
    if any(pieces_taken_back(facts, line) is None for line in in_part):
        by_mirakl = any(line.withdrawn is Withdrawn.PART for line in in_part)
        return _CURE_OF_UNKNOWN_ENDED_IN_OMS if by_mirakl else _CURE_OF_UNKNOWN_LEFT_IN_OMS
    is_in_part = in_part or any(is_canceled_as_taken_back(facts, line) for line in lines)
    return _CURE_OF_PART_ENDED_IN_OMS if is_in_part else ""


def is_taken_out(lines: Sequence[Line], facts: Facts) -> bool:
    """Whether the OMS canceled of each of these lines as much as Mirakl took back."""
    return bool(lines) and all(is_canceled_as_taken_back(facts, line) for line in lines)
