"""The question before a person's decision: what happens if the person says yes."""

from collections.abc import Iterator, Sequence
from typing import Final

from adapters.store.commands import CommandRow
from adapters.store.orders import OrderRow
from adapters.store.shops import ShopRow
from consumer.operations.calls import what_it_does
from consumer.operations.cases import others_to_send, tracking_in_words
from consumer.operations.cures_of_goods import others_to_arrive_with
from consumer.operations.explain import oms_goes_on
from consumer.operations.outside import answer_awaited, canceled_in_oms, money_awaited
from consumer.operations.stops import what_ends
from statemachine.attention.urgency_of_order import lines_named_in
from statemachine.commands import CommandKey, CommandKind, CommandState, Policy
from statemachine.facts import VOUCHED, Decision, DecisionKind, Facts, Line
from statemachine.joining import join
from statemachine.plan import Plan, plan
from statemachine.questions.in_oms import all_left, unfinished_parts
from statemachine.questions.missing import is_gone
from statemachine.questions.payloads import import_known
from statemachine.questions.readings import acceptance, all_sent, is_canceled_by_oms, mirakl_state
from statemachine.questions.trackings import best_tracking
from statemachine.questions.vouches import sent_beside
from statemachine.reasons import Reason
from statemachine.states import State
from statemachine.urgency import EndsBy


def question(
    order: OrderRow,
    commands: Sequence[CommandRow],
    kind: DecisionKind,
    new: Facts,
    *,
    shop: ShopRow | None,
    policy: Policy,
    external_ref: str,
) -> str:
    """Say what the decision changes. `new` is what it adds to the facts, `external_ref` how the OMS names the order."""
    facts = join(order.facts, new)
    before, after = plan(order.facts, policy), plan(facts, policy)
    parts = [
        *_calls(before, after, facts, policy, shop),
        *_not_made(commands, before, after, order.facts, new, policy=policy),
        *_of_kind(order, commands, kind, new, before=before, after=after, policy=policy, shop=shop),
    ]
    if kind is DecisionKind.RETRY and any(_is_import(one) for one in new.decisions):
        parts.insert(0, f"first look in the OMS for external_ref {external_ref}: if it is there, use `orders handled`")
    if any(call.kind is CommandKind.IMPORT for one in new.decisions if (call := _by_hand(one))):
        parts.append(f"the OMS must have it under external_ref {external_ref}, or no report on it reaches this order")
    if after.state is not before.state:
        parts.append(f"the order becomes {after.state}")
    if ended := [str(one.reason) for one in before.attention if one not in after.attention]:
        parts.append(f"this ends {', '.join(dict.fromkeys(ended))}")
    what = "; ".join(parts) or "nothing changes now"
    return f"{kind} {order.shop} {order.order_id}, which is {order.state}: {what}?"


def _calls(before: Plan, after: Plan, facts: Facts, policy: Policy, shop: ShopRow | None) -> Iterator[str]:
    """The calls that the decision makes due."""
    due_before = {one.key for one in before.due}
    for command in after.due:
        if command.key not in due_before:
            yield what_it_does(command.key, facts, policy) + _switched_off(command.kind, shop)
    if _tracking_goes_first(before, after, facts):
        yield f"then {what_it_does(CommandKey(CommandKind.CONFIRM, '', 0), facts, policy)}"


def _tracking_goes_first(before: Plan, after: Plan, facts: Facts) -> bool:
    """Whether OR24 follows a tracking that the decision makes due. OR24 is not due yet then: it waits for OR23
    (plan.py)."""
    due, due_before = {one.kind for one in after.due}, {one.kind for one in before.due}
    is_new = CommandKind.TRACK in due - due_before
    return is_new and CommandKind.CONFIRM not in due and mirakl_state(facts) == "SHIPPING"


def _not_made(
    commands: Sequence[CommandRow], before: Plan, after: Plan, facts: Facts, new: Facts, *, policy: Policy
) -> Iterator[str]:
    """The calls that were due, and that the decision takes back."""
    due = {one.key for one in after.due} | {_by_hand(one) for one in new.decisions}
    under_way = {one.key for one in commands if one.state is CommandState.LEASED}
    for key in [one.key for one in before.due if one.key not in due]:
        what = "under way, and not stopped by this" if key in under_way else "not made any more"
        yield f"{what}: {what_it_does(key, facts, policy)}"


def _is_import(decision: Decision) -> bool:
    """Whether a retry makes the import once more."""
    return any(CommandKey.parse(one).kind is CommandKind.IMPORT for one in decision.subject)


def _let_go(before: Plan, after: Plan, facts: Facts, policy: Policy) -> Iterator[str]:
    """What goes on from now on, because the reasons that the decision ends hold its calls no more."""
    ended = [one for one in before.attention if one not in after.attention]
    still_held = frozenset[CommandKind]().union(*(one.about.holds for one in after.attention))
    freed = frozenset[CommandKind]().union(*(one.about.holds for one in ended)) - still_held
    due = {one.kind for one in after.due}
    yield from _first(before, after, facts, policy)
    if due or after.state.is_at_its_end:
        return
    if is_canceled_by_oms(facts) and CommandKind.CONFIRM in freed and not all_sent(facts):
        return
    if CommandKind.CONFIRM in freed and import_known(facts):
        is_withdrawn = any(one.reason is Reason.WITHDRAWN_AFTER_IMPORT for one in ended)
        if (is_withdrawn or is_gone(facts, policy)) and not all_sent(facts):
            yield "stop the order in the OMS first: if its goods leave all the same, a person is asked again"
            return
        when = "Mirakl shows SHIPPING" if all_sent(facts) else "the OMS reports the goods sent"
        yield f"from then on, when {when}, Mirakl is notified that the order is shipped"
    elif awaited := answer_awaited(facts, policy):
        yield awaited
    elif CommandKind.IMPORT in freed and not import_known(facts):
        yield "from then on, when Mirakl shows that it can be sent, the order goes to the OMS"


def _first(before: Plan, after: Plan, facts: Facts, policy: Policy) -> Iterator[str]:
    """What a person has to do before the reasons end, or has to know of what the OMS gets."""
    ended = {one.reason for one in before.attention if one not in after.attention}
    if Reason.OMS_CANCELED in ended:
        yield from canceled_in_oms(facts, policy, after.attention)
    if Reason.PAYMENT_AWAITED_AGAIN in ended and not all_sent(facts):
        yield "the customer has not paid: put the order on hold in the OMS first, or it makes the goods all the same"
    if Reason.SHIPPED_ELSEWHERE in ended:
        yield _other_parcels(before, facts)
    if Reason.LINE_INCIDENT in ended and facts.snapshot and facts.snapshot.owed_lines:
        lines = ", ".join(line.id for line in facts.snapshot.lines if line.has_incident)
        yield (
            f"when the other lines have left, OR24 reports the whole order shipped, {lines} too: if the customer is "
            "not to get that, have it refunded in Mirakl's portal first"
        )
    if Reason.FOREIGN_TRACKING in ended and facts.snapshot:
        numbers = tracking_in_words(facts.snapshot.tracking), tracking_in_words(best_tracking(facts))
        yield (
            f"Mirakl keeps {numbers[0]}, and does not get {numbers[1]} from orderflow: if both parcels left, stop the "
            "second or arrange its return first"
        )
    if any(one.kind is CommandKind.IMPORT for one in after.due) and not ended.isdisjoint(_IMPORTED_AS_SHOWN):
        known = [
            line for line in facts.owed_lines if line.quantity is not None
        ]  # without a quantity nothing is imported
        yield f"the OMS gets {', '.join(f'{line.quantity} of {line.id} ({line.sku})' for line in known)}"
        if Reason.PARTLY_WITHDRAWN in ended:
            yield "if the operator named another number, do not release it: `orders explain` says what to do"


def _other_parcels(before: Plan, facts: Facts) -> str:
    """What a person has to stop of an order or of lines that somebody else shipped too."""
    reasons = [one for one in before.attention if one.reason is Reason.SHIPPED_ELSEWHERE]
    lines = [line for one in reasons for line in lines_named_in(one, facts)]
    if all_left(facts):
        too = "the OMS sent the goods too: if two parcels left, stop the second or arrange its return first"
        if lines and (beside := others_to_arrive_with(lines, facts)):
            too += f", but not that of what is to arrive and is perhaps in it: {', '.join(beside)}"
        keeps = any(one.oms_id == VOUCHED and one.tracking.number for one in facts.dispatches) and sent_beside(facts)
        return f"{too}; Mirakl keeps {tracking_in_words(best_tracking(facts))}" if keeps else too
    if others := others_to_send(facts, lines) if lines else []:
        ids, still = (", ".join(line.id for line in each) for each in (lines, others))
        stop = f"unless this is what was meant, stop only that there first; it still has to make {still}"
        return f"{ids} leaves the OMS all the same: {stop}"
    stop = "unless these are the goods that were meant, stop it there first"
    return f"what has not left the OMS leaves all the same: {stop}"


#: Reasons after whose release the OMS gets the pieces that Mirakl shows, which may be too many.
_IMPORTED_AS_SHOWN: Final = (Reason.PARTLY_WITHDRAWN, Reason.UNKNOWN_LINE_STATE, Reason.LINE_SHIPPED_BEFORE)


def _by_hand(decision: Decision) -> CommandKey | None:
    """The call that a person did by hand, as this decision says."""
    return CommandKey.parse(decision.subject[0]) if decision.kind is DecisionKind.HANDLED else None


def _call(kind: CommandKind) -> str:
    return f"{kind.operation} ({kind})"


def _switched_off(kind: CommandKind, shop: ShopRow | None) -> str:
    """A remark on a call that is due and not made, because the effects of the shop are off. Else empty."""
    if shop is None or not shop.effects:
        return " (later: the effects of the shop are off)"
    return f" (later: {kind.group} is paused for the shop)" if kind.group in shop.paused else ""


def _of_kind(
    order: OrderRow,
    commands: Sequence[CommandRow],
    kind: DecisionKind,
    new: Facts,
    *,
    before: Plan,
    after: Plan,
    policy: Policy,
    shop: ShopRow | None,
) -> Iterator[str]:
    """What a decision of this kind brings about beside calls and reasons."""
    facts = join(order.facts, new)
    match kind:
        case DecisionKind.ACCEPT | DecisionKind.REFUSE:
            yield from _of_answer(facts, before=before, after=after, policy=policy, shop=shop)
        case DecisionKind.HOLD:
            yield "no call of the order is made until `orders release`"
            if goes_on := oms_goes_on(order.facts):
                yield goes_on
            if awaited := answer_awaited(facts, policy):
                yield awaited
        case DecisionKind.SETTLE | DecisionKind.RELEASE:
            yield from _let_go(before, after, facts, policy)
            if kind is DecisionKind.RELEASE:
                yield from _at_once(commands, facts, new, policy)
                if any(
                    one.reason is Reason.MESSAGES_NOT_READ and one not in after.attention for one in before.attention
                ):
                    yield "if the messages still cannot be read, it goes without them, and messages_not_found begins"
            if holding := [str(one.reason) for one in after.attention if one.about.holds]:
                yield f"calls still wait because of {', '.join(dict.fromkeys(holding))}"
        case DecisionKind.SENT:
            yield from _of_sent(order.facts, before=before, after=after)
            yield from _numbers_left_out(order.facts, new)
        case DecisionKind.HANDLED:
            yield from _of_handled(new, before=before, after=after)
        case DecisionKind.RETRY:
            yield from _at_once(commands, facts, new, policy)


def _of_sent(facts: Facts, *, before: Plan, after: Plan) -> Iterator[str]:
    """What counts as sent, what does not, and what is reported of it to Mirakl and the OMS."""
    if _corrects_number(facts, before=before, after=after):
        yield "the order is shipped already: only the number changes"
    else:
        yield from _counted(facts.lines)
    if before.state is State.SHIPPING and CommandKind.IMPORT not in {one.kind for one in before.due}:
        yield "the order does not go to the OMS any more"
    if after.state is State.DISPATCHED and (money := money_awaited(facts)):
        yield f"{money}; Mirakl is notified of the shipment only when it shows SHIPPING"
    if any(one.reason is Reason.LINES_NOT_IMPORTED for one in after.attention):
        yield "the OMS's answer showed other lines or pieces than it was sent: nobody has to make the missing ones now"
    if staying := [str(one.reason) for one in after.attention if one.about.ends_by is EndsBy.SETTLE]:
        yield f"on the list until a settle: {', '.join(dict.fromkeys(staying))}"
    yield from _reported_later(after)


def _corrects_number(facts: Facts, *, before: Plan, after: Plan) -> bool:
    """Whether the goods counted as sent before and Mirakl shows the order shipped, so that only the number is new."""
    is_sent = before.state is State.SHIPPED and bool(facts.dispatches) and not unfinished_parts(facts)
    return is_sent and all(one in after.attention for one in before.attention)


def _counted(lines: Sequence[Line]) -> Iterator[str]:
    goods = ", ".join(f"{line.quantity} of {line.id}" for line in lines if line.is_owed and line.quantity is not None)
    yield f"all goods count as sent{f' ({goods})' if goods else ''}, and this cannot be taken back"
    if gone := [line.id for line in lines if not line.is_owed]:
        yield f"not to be sent any more, so not counted: {', '.join(gone)}"


def _numbers_left_out(facts: Facts, new: Facts) -> Iterator[str]:
    """The numbers of parcels that left before, and that Mirakl does not get beside the one that a person names."""
    named = {one.tracking.bare_number for one in new.dispatches} - {""}
    reported = {one.tracking.bare_number: one.tracking for one in facts.dispatches if one.tracking.bare_number}
    others = [tracking_in_words(one) for number, one in sorted(reported.items()) if number not in named]
    if named and others:
        yield (
            f"Mirakl has one number for an order: {', '.join(others)}, reported before, is left out, so write it to "
            "the customer in Mirakl's portal if that parcel left too"
        )


def _reported_later(after: Plan) -> Iterator[str]:
    """What ends the reasons that keep a shipment from being reported."""
    holding = [one for one in after.attention if CommandKind.CONFIRM in one.about.holds]
    if any(one.reason is Reason.NOT_OURS_TO_SHIP for one in holding):
        yield f"{_OTHERS_SHIP}, so the customer may get the goods twice: stop the parcel"
    if holding:
        names = ", ".join(dict.fromkeys(str(one.reason) for one in holding))
        ends = " and ".join(dict.fromkeys(what_ends(one) for one in holding))
        yield f"nothing of it is reported to Mirakl until {ends} ({names})"


#: What is said of an order with the reason not_ours_to_ship.
_OTHERS_SHIP: Final = "Mirakl shows that somebody else ships this order"


def _of_handled(new: Facts, *, before: Plan, after: Plan) -> Iterator[str]:
    """What counts as done by hand. Of an import: what the OMS counts as having, and who else sends it."""
    calls = [call.kind for one in new.decisions if (call := _by_hand(one))]
    yield f"{', '.join(map(_call, calls))} counts as done by hand, and is not made"
    if CommandKind.IMPORT not in calls:
        due = {one.kind for one in before.due}
        again = "it is called again" if due.issuperset(calls) else "a person is asked again"
        yield f"the next read of Mirakl has to show it, or {again}"
        return
    items = [f"{pieces} of {line}" for one in new.handovers for line, pieces in one.items]
    if items and any(one.reason in _IMPORTED_AS_SHOWN for one in before.attention):
        yield f"the OMS counts as having the pieces that Mirakl shows: {', '.join(items)}"
    if any(one.reason is Reason.NOT_OURS_TO_SHIP for one in after.attention):
        yield f"{_OTHERS_SHIP}: what the OMS makes, it has to stop, and nothing of it is reported to Mirakl"


def _at_once(commands: Sequence[CommandRow], facts: Facts, new: Facts, policy: Policy) -> Iterator[str]:
    """The calls that wait for their next try, which the decision makes now."""
    for one in commands:
        if one.state is CommandState.OPEN and one.next_at > new.decisions[0].at:
            yield f"at once: {what_it_does(one.key, facts, policy)}"


def _of_answer(facts: Facts, *, before: Plan, after: Plan, policy: Policy, shop: ShopRow | None) -> Iterator[str]:
    """What the answer to Mirakl is, if the decision makes no call due."""
    answers = [one.key for one in after.due if one.kind is CommandKind.ACCEPT]
    if not answers and mirakl_state(facts) != "WAITING_ACCEPTANCE":
        says = what_it_does(CommandKey(CommandKind.ACCEPT, acceptance(facts, policy) or "", 0), facts, policy)
        yield f"when Mirakl asks for the answer, {says}"
    elif answers and answers[0] in {one.key for one in before.due}:
        says = what_it_does(answers[0], facts, policy)
        yield f"as planned, {says}{_switched_off(CommandKind.ACCEPT, shop)}"
    elif not answers and any(one.reason is Reason.HELD for one in after.attention):
        yield "the answer waits until `orders release`, because a person holds the order"
    elif not answers:
        yield "the answer still waits: `orders explain` says for what"
