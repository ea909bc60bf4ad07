"""Finds an order, and applies what a person decides about it. A decision is an event, applied like any other."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from adapters.store import commands as command_rows
from adapters.store import journal as journal_rows
from adapters.store import orders as order_rows
from adapters.store import shops as shop_rows
from adapters.store import snapshots as snapshot_rows
from adapters.store.commands import CommandRow
from adapters.store.orders import OrderRow
from adapters.store.shops import ShopRow
from adapters.store.transaction import Store
from consumer.applying.apply import OrderWriter
from consumer.operations.calls import answer_in_words
from consumer.operations.causes import cure
from consumer.operations.errors import NotPossible, NotUnique, UnknownOrder, require_reason, require_shop
from consumer.operations.explain import Explanation, explain
from consumer.operations.instants import to_the_second
from consumer.operations.questions import question
from consumer.operations.unchanged import is_as_seen
from statemachine.attention.changes_by_mirakl import said_by_settle
from statemachine.attention.ends import can_be_settled
from statemachine.commands import CommandKey, CommandKind, CommandState, Policy
from statemachine.events import Event, Trigger
from statemachine.facts import (
    RESTORED,
    VOUCHED,
    Answer,
    Attempt,
    Decision,
    DecisionKind,
    Dispatch,
    Facts,
    Handover,
    Tracking,
    Withdrawn,
    age_of,
)
from statemachine.occurrences import after_all, after_reads_and_reports, seen_in
from statemachine.questions.in_oms import all_left
from statemachine.questions.payloads import import_known, may_be_in_oms, possible_imports, settle_as_imported
from statemachine.questions.readings import all_sent, is_pending, last_answer, mirakl_state, unsent_parts
from statemachine.reasons import Reason
from statemachine.states import State
from statemachine.urgency import EndsBy

#: The source of events that are decisions.
SOURCE: Final = "/orderflow/person"


def find(store: Store, order_id: str, shop: str | None = None) -> OrderRow:
    """The order with this id. Raises NotPossible if there is none, NotUnique if two shops have one."""
    rows = order_rows.find(store, order_id, shop)
    if not rows:
        if shop:
            require_shop(shop, [one.name for one in shop_rows.list_all(store)])
        where = f" of shop {shop}" if shop else ""
        others = [one.order_id for text in _other_cases(order_id) for one in order_rows.find(store, text, shop)]
        raise UnknownOrder(order_id, where, other=next(iter(others), ""))
    if len(rows) > 1:
        raise NotUnique(f"{order_id} is an order of {' and '.join(sorted(row.shop for row in rows))}: say --shop")
    return rows[0]


def _other_cases(order_id: str) -> list[str]:
    """The id as Mirakl may have written it: `-A` at its end, after digits and letters that are all small or all
    large."""
    base, dash, end = order_id.rpartition("-")
    return [order_id.upper(), order_id.lower(), f"{base.lower()}{dash}{end.upper()}"]


def explanation(store: Store, order: OrderRow, policy: Policy, now: datetime) -> Explanation:
    """Why an order is in its state, from everything that is stored of it."""
    return explain(
        order,
        journal_rows.of_order(store, order.key),
        command_rows.of_order(store, order.key),
        shop=_shop(store, order),
        policy=policy,
        now=now,
        received=snapshot_rows.find(store, order.key, order.digest),
    )


def _shop(store: Store, order: OrderRow) -> ShopRow | None:
    return next((shop for shop in shop_rows.list_all(store) if shop.name == order.shop), None)


@dataclass(frozen=True, slots=True)
class Act:
    """What a person decides about an order. Each option belongs to some kinds of decisions, and may be empty."""

    kind: DecisionKind
    who: str
    why: str
    at: datetime
    only: Collection[str] = ()  # of settle, release: the reasons that it ends; empty: the only one that it can end
    tracking: Tracking = field(default_factory=Tracking)  # of sent
    call: str = ""  # of handled: the kind of the call; empty: the only call that is due or failed
    lines: Collection[str] = ()  # of accept, refuse: ids of the lines with this answer; empty: every line


def decide(
    store: Store,
    writer: OrderWriter,
    order: OrderRow,
    act: Act,
    *,
    shops: Collection[str],
    was_asked: bool = False,
) -> OrderRow:
    """Apply a decision about what `order` shows. Returns the order as it is after that.

    The decision is dated `act.at`, or later if the stored order holds something with a later date (`after_all`).
    `shops` are the names of the configured shops: the calls of an order cannot be planned without its shop's policy.
    `was_asked`: a person was asked, and looked at `order` before the answer.

    Raises NotPossible if nothing would change, or if `act.why` is blank. Also if several attention reasons (settle,
    release) or several calls (handled) are possible, and `act.only` or `act.call` names none. Also if a person was
    asked, and the order changed meanwhile (unchanged.py): a decision counts as made after all that is stored
    before it, so it would cover what the person has not seen.
    """
    if order.shop not in shops:
        raise NotPossible(f"{_name(order)}: its shop is not in the configuration")
    require_reason(act.why)
    subject = _subject(store, order, act)
    with store.transaction() as tx:
        stored = order_rows.lock(tx, [(order.shop, order.order_id)], act.at)[order.shop, order.order_id]
        if was_asked and not is_as_seen(order, stored):
            raise NotPossible(
                f"{_name(order)}: it changed after the question was asked, so look at it and decide again"
            )
        applied = writer.apply_in(tx, [_event(order, act, subject, after_all(stored.facts, act.at))], [stored])
        if act.kind in (DecisionKind.RETRY, DecisionKind.RELEASE):  # a released import may be between two tries
            command_rows.retry_now(tx, order.key, act.at)
    writer.report(applied)
    return order_rows.find(store, order.order_id, order.shop)[0]


def _event(order: OrderRow, act: Act, subject: tuple[str, ...], at: datetime) -> Event:
    new = _facts_of(order, act, subject, at)
    event = Event(SOURCE, uuid.uuid4().hex, order.shop, order.order_id, Trigger.DECISION, at, new)
    return replace(event, note={"act": act.kind})


def replan(store: Store, writer: OrderWriter, order: OrderRow) -> OrderRow:
    """Plan an order again from its facts. A quarantined order goes on, if this version can read and plan it.

    Returns the order as it is after that. Raises NotPossible if it cannot be read or planned.
    """
    writer.replan([(order.shop, order.order_id)])
    after = order_rows.find(store, order.order_id, order.shop)[0]
    if after.quarantine is not None:
        raise NotPossible(f"{_name(order)}: this version cannot read or plan it ({after.quarantine})")
    return after


def question_of(store: Store, order: OrderRow, act: Act, policy: Policy, *, prefix: str) -> str:
    """The question before a decision: what happens if the person says yes. Raises NotPossible as `decide` does.

    `prefix`: the shop's `external_ref_prefix`, with which the OMS has the order.
    """
    return question(
        order,
        command_rows.of_order(store, order.key),
        act.kind,
        new_facts(store, order, act),
        shop=_shop(store, order),
        policy=policy,
        external_ref=prefix + order.order_id,
    )


# -- What a decision covers --------------------------------------------------------------------------------------


def new_facts(store: Store, order: OrderRow, act: Act) -> Facts:
    """What the decision adds to the order, if it is made now. Raises NotPossible as `decide` does."""
    return _facts_of(order, act, _subject(store, order, act), after_all(order.facts, act.at))


def _subject(store: Store, order: OrderRow, act: Act) -> tuple[str, ...]:
    """What the decision covers (facts.Decision). Raises NotPossible as `decide` does."""
    match act.kind:
        case DecisionKind.ACCEPT | DecisionKind.REFUSE:
            _require_waiting_for_answer(order)
            return _lines(order, act.lines)
        case DecisionKind.HOLD:
            _require_not_final(order)
            if any(one.reason == Reason.HELD for one in order.attention):
                raise NotPossible(f"{_name(order)} is held already")
        case DecisionKind.SETTLE:
            _require_import_known(order, command_rows.of_order(store, order.key))
            return _to_settle(order, act.only)
        case DecisionKind.RETRY:
            return _to_retry(order, command_rows.of_order(store, order.key), act.at)
        case DecisionKind.RELEASE:
            return _to_release(order, act.only)
        case DecisionKind.SENT:
            _require_unsent(order, command_rows.of_order(store, order.key), act.tracking)
        case DecisionKind.HANDLED:
            return (str(_to_handle(order, command_rows.of_order(store, order.key), act.call)),)
    return ()


def _facts_of(order: OrderRow, act: Act, subject: tuple[str, ...], at: datetime) -> Facts:
    """What a decision adds that covers `subject` and is dated `at`."""
    decisions = (Decision(at, act.kind, act.who, act.why, subject, seen_in(order.facts)),)
    if act.kind is DecisionKind.SENT:
        saw = _to_be_sent(order)
        said_at = after_reads_and_reports(order.facts, act.at)
        word = Dispatch(VOUCHED, said_at, act.tracking, covers="order", told_at=at, vouched=saw)
        return Facts(decisions=decisions, dispatches=(word,))
    if act.kind is DecisionKind.HANDLED:
        key = CommandKey.parse(subject[0])
        # The person says that the effect exists already, so the next read has to show it (docs/rules.md 16).
        answer = Answer(key.kind, key.carries, key.round, at, proof_after=at)
        made = _imported_by_hand(order, at) if key.kind is CommandKind.IMPORT else ()
        return Facts(decisions=decisions, answers=(answer,), handovers=made)
    return Facts(decisions=decisions)


def _to_be_sent(order: OrderRow) -> tuple[tuple[str, int], ...]:
    """The lines and pieces that Mirakl shows to be sent (`Dispatch.vouched`). A vouch covers these, and none that are
    added later."""
    owed = order.facts.owed_lines
    signs = {Withdrawn.PART: -1}
    return tuple(sorted((line.id, signs.get(line.withdrawn, 1) * (line.quantity or 0)) for line in owed))


def _imported_by_hand(order: OrderRow, at: datetime) -> tuple[Handover, ...]:
    """What a person made in the OMS: the order as Mirakl shows it.

    Nothing if the OMS may have the order already, from an earlier try of ours or (`already_in_oms`) from somebody else.
    Then Mirakl's changes are compared with that earlier order in the OMS (payloads.what_oms_got).
    """
    facts, snapshot = order.facts, order.facts.snapshot
    is_there = any(one.reason is Reason.ALREADY_IN_OMS for one in order.attention)
    if possible_imports(facts) or is_there or snapshot is None:
        return ()
    items = tuple((line.id, line.quantity) for line in snapshot.owed_lines if line.quantity is not None)
    return (Handover(at, items, snapshot.contents, shown_at=age_of(snapshot)[0]),)


def _to_handle(order: OrderRow, commands: Sequence[CommandRow], call: str) -> CommandKey:
    """The call that a person did by hand: the named one, or the only one that is due, is held or ended without success.

    Raises NotPossible if there is no such call, if there are several and none is named, or if the call is under way.
    """
    _require_not_final(order)
    failed = _failed(order)
    ended = [one for one in _without_success(order, commands) if one.kind in failed]
    # Of several calls of one kind, a live one counts before one that has ended.
    found = {one.kind: one for one in [*ended, *(one for one in commands if one.state.is_live)]}
    if CommandKind.IMPORT not in found and call in ("", CommandKind.IMPORT) and _is_import_held(order):
        return CommandKey(CommandKind.IMPORT, "", max((one.round + 1 for one in commands), default=0))
    if call and call not in found:
        raise NotPossible(
            f"{_name(order)}: {call} is not due, and did not fail; to handle: {', '.join(found) or 'none'}"
        )
    if not found:
        raise NotPossible(f"{_name(order)}: nothing to handle: no call is due, and none ended without success")
    if len(found) > 1 and not call:
        raise NotPossible(f"{_name(order)}: say which call, {' or '.join(f'--call {kind}' for kind in found)}")
    one = found[CommandKind(call)] if call else next(iter(found.values()))  # type: ignore[call-arg]  # as in parse
    if one.state is CommandState.LEASED:
        raise NotPossible(f"{_name(order)}: {one.kind} is under way; wait for its outcome")
    return one.key


def _is_import_held(order: OrderRow) -> bool:
    """Whether only a reason for a person keeps the order from being imported. The person may enter it in the OMS."""
    held = any(CommandKind.IMPORT in one.about.holds for one in order.attention)
    return held and order.state is State.SHIPPING and not order.facts.dispatches


def _require_unsent(order: OrderRow, commands: Sequence[CommandRow], tracking: Tracking) -> None:
    """Raise NotPossible if a person cannot report the goods as sent.

    That is so if they cannot have left yet, if an import under way may have reached the OMS, or if nothing is new.
    """
    _require_not_final(order)
    facts = order.facts
    if order.state is State.NEW or facts.snapshot is None:
        raise NotPossible(f"{_name(order)} was not read in a state in which goods can have left")
    if (order.state is State.SHIPPED and not tracking) or (
        all_sent(facts) and not unsent_parts(facts) and not tracking
    ):
        raise NotPossible(f"{_name(order)}: everything is reported sent already; only a tracking can be added")
    if not facts.snapshot.owed_lines and order.state is not State.SHIPPED:
        raise NotPossible(
            f"{_name(order)}: nothing is to be sent any more: all its lines are canceled, refunded or sent"
        )
    if _may_be_in_oms(order, commands):
        raise NotPossible(
            f"{_name(order)}: an import may have reached the OMS, which would send the goods again; look in the OMS "
            "first. If it has the order, stop it there. Wait until the outcome of the import is known, or say with "
            "`orders handled --call import_order` that the OMS has the order"
        )


def _may_be_in_oms(order: OrderRow, commands: Sequence[CommandRow]) -> bool:
    """Whether an import may have reached the OMS, and nothing shows yet that it did.

    Also one that is not tried any more: it was given up, a hold took it back, or the OMS refused a repeat of it.
    """
    if any(one.kind is CommandKind.IMPORT and one.state is CommandState.LEASED for one in commands):
        return True
    unclear = [one for one in commands if one.kind is CommandKind.IMPORT and one.maybe_sent]
    refused = [no for no in order.facts.rejections if no.kind == CommandKind.IMPORT and no.maybe_there]
    restored = Attempt(CommandKind.IMPORT, RESTORED) in order.facts.attempts
    return bool(unclear or refused or restored) and not import_known(order.facts)


def _lines(order: OrderRow, lines: Collection[str]) -> tuple[str, ...]:
    """The ids of lines that a decision names. Raises NotPossible if the order has no such line."""
    known = {line.id for line in order.facts.lines}
    if foreign := sorted({*lines} - known):
        raise NotPossible(
            f"{_name(order)} has no line {', '.join(foreign)}; it has: {', '.join(sorted(known)) or 'none'}"
        )
    return tuple(sorted({*lines}))


def _require_waiting_for_answer(order: OrderRow) -> None:
    """Raise NotPossible if the order is final, if Mirakl shows it past the acceptance, or if Mirakl took our answer and
    no read after the grace period has come yet (docs/rules.md 16).

    A decision before Mirakl asks for the answer (STAGING, or no read yet) is possible: the call is made when Mirakl
    asks.
    """
    _require_not_final(order)
    if mirakl_state(order.facts) not in ("", "STAGING", "WAITING_ACCEPTANCE"):
        raise NotPossible(
            f"{_name(order)} waits for no decision any more: it is {order.state}; {_how_to_withdraw(order)}"
        )
    answer = last_answer(order.facts, CommandKind.ACCEPT)
    if answer is not None and is_pending(order.facts, answer):
        raise NotPossible(
            f"{_name(order)}: Mirakl took an answer at {to_the_second(answer.at)} already (OR21 "
            f"{answer_in_words(answer.carries, order.facts)}), and it cannot be changed. Only if a read that begins "
            f"after {to_the_second(answer.proof_after)} still shows the order waiting, it can be answered once more. "
            f"What was refused the customer has to order again. What was accepted: {_how_to_withdraw(order)}"
        )


def _how_to_withdraw(order: OrderRow) -> str:
    """What a person does to withdraw an order that Mirakl has accepted."""
    if order.state is State.SHIPPED or all_left(order.facts):
        return "to withdraw it, stop the parcel, and refund it in Mirakl's portal"
    if may_be_in_oms(order.facts):
        return "to withdraw it, stop it in the OMS, and cancel or refund it in Mirakl's portal"
    return "to withdraw it, `orders hold` keeps it from the OMS; then cancel or refund it in Mirakl's portal"


def _require_import_known(order: OrderRow, commands: Sequence[CommandRow]) -> None:
    """Raise NotPossible while an import is under way: the OMS may get the order only after a person looked there, as it
    was before Mirakl changed it. Then the settle would say that the OMS knows of the change."""
    if any(one.kind is CommandKind.IMPORT and one.state is CommandState.LEASED for one in commands):
        raise NotPossible(
            f"{_name(order)}: {CommandKind.IMPORT} is under way; wait for its outcome, then look in the OMS and decide"
        )


def _to_settle(order: OrderRow, only: Collection[str] = ()) -> tuple[str, ...]:
    """The tokens of the attention reasons that a settle ends: those in `only`; without `only`, the one that it can end.

    Raises NotPossible if `only` names a reason that the order does not have, or that cannot be settled. Without `only`,
    raises NotPossible if no reason can be settled, or if several can.
    """
    standing = {one.reason: one for one in order.attention}
    for name in only:
        one = next((one for reason, one in standing.items() if reason == name), None)
        if one is None:
            raise NotPossible(f"{_name(order)} has no reason {name}; it has: {', '.join(standing) or 'none'}")
        if not can_be_settled(one):
            raise NotPossible(f"{_name(order)}: {name} cannot be settled. {cure(one, order)}")
    found = [one for one in order.attention if can_be_settled(one)]
    if not found:
        raise NotPossible(f"{_name(order)}: nothing to settle{_other_ends(order)}")
    names = list(dict.fromkeys(one.reason for one in found))
    if len(names) > 1 and not only:
        raise NotPossible(f"{_name(order)} has several reasons: say which, {' '.join(f'--only {n}' for n in names)}")
    chosen = [one for one in found if not only or one.reason in only]
    return tuple(dict.fromkeys(token for one in chosen for token in said_by_settle(order.facts, one)))


def _other_ends(order: OrderRow) -> str:
    """How the reasons of the order end, if a person asked for a decision that ends none of them."""
    standing = {one.reason: one for one in order.attention}
    left = "; ".join(f"{name} ends in another way. {cure(one, order)}" for name, one in standing.items())
    return f": {left}" if left else ""


def _to_release(order: OrderRow, only: Collection[str] = ()) -> tuple[str, ...]:
    """The tokens of the reasons that a release ends: those in `only`; without `only`, the one that it can end.

    Raises NotPossible if `only` names a reason that a release cannot end. Without `only`, raises NotPossible if a
    release can end none, or several: a person who ends a hold has not seen a refund that came meanwhile.
    """
    found = [one for one in order.attention if one.about.ends_by is EndsBy.RELEASE]
    names = [str(one) for one in dict.fromkeys(one.reason for one in found)]
    if not found:
        raise NotPossible(f"{_name(order)}: nothing to release{_other_ends(order)}")
    if foreign := sorted({*only} - {*names}):
        raise NotPossible(f"{_name(order)}: a release does not end {', '.join(foreign)}; it ends: {', '.join(names)}")
    if len(names) > 1 and not only:
        raise NotPossible(f"{_name(order)} has several reasons: say which, {' '.join(f'--only {n}' for n in names)}")
    return tuple(one.token for one in found if not only or one.reason in only)


def _to_retry(order: OrderRow, commands: Sequence[CommandRow], at: datetime) -> tuple[str, ...]:
    """Every call that ended without success and is still needed.

    May be empty if a call waits for its next try: that try is made now. Raises NotPossible if a retry changes nothing.
    """
    _require_not_final(order)
    needed = _failed(order) | _refused_since_read(order.facts)
    ended = [str(one.key.next_round) for one in _without_success(order, commands) if one.kind in needed]
    live = [one for one in commands if one.state.is_live]
    if not ended and not any(one.state is CommandState.OPEN and one.next_at > at for one in live):
        raise NotPossible(f"{_name(order)}: nothing to retry: {_why_no_retry(order.facts, live)}")
    return tuple(ended)


def _why_no_retry(facts: Facts, live: Sequence[CommandRow]) -> str:
    if not live and (settle := settle_as_imported(facts)):
        return (
            f"{settle.who} settled already_in_oms, so the order counts as imported, and no import is made any more. If "
            "the OMS holds another order under this external_ref, enter this one there by hand, and say `orders sent` "
            "when its goods have left"
        )
    if not live:
        return "no call was refused or given up, and none waits for its next try"
    one = live[0]
    if one.state is CommandState.LEASED:
        return f"{one.kind} is under way; wait for its outcome"
    return f"{one.kind} is due now, and is made without a retry; `orders explain` says what it waits for"


def _failed(order: OrderRow) -> set[str]:
    """The calls about which the order has an attention reason."""
    failed: set[str] = {one.command for one in order.attention if one.command is not None}
    if any(one.reason == Reason.ALREADY_IN_OMS for one in order.attention):
        failed.add(CommandKind.IMPORT)
    return failed


def _refused_since_read(facts: Facts) -> set[str]:
    """The calls that were refused after the newest read, and that no person handled. Only the next read makes an
    attention reason of some of them."""
    return {
        no.kind
        for no in facts.rejections
        if (facts.snapshot is None or facts.snapshot.read_at <= no.at)
        and not (no.kind == CommandKind.IMPORT and import_known(facts))
        and not is_pending(facts, last_answer(facts, no.kind))
    }


def _without_success(order: OrderRow, commands: Sequence[CommandRow]) -> list[CommandRow]:
    """The last round of each command that failed: refused, given up, or confirmed by Mirakl and shown by no read."""
    last = {(one.kind, one.carries): one for one in sorted(commands, key=lambda one: one.round)}
    never_applied = {one.command for one in order.attention if one.reason == Reason.NOT_APPLIED}
    return [
        one
        for one in last.values()
        if one.state in (CommandState.REJECTED, CommandState.GAVE_UP)
        or (one.state is CommandState.DONE and one.kind in never_applied)
    ]


def _require_not_final(order: OrderRow) -> None:
    if order.state.is_final:
        raise NotPossible(f"{_name(order)} is {order.state}, which is final")


def _name(order: OrderRow) -> str:
    return f"{order.shop} {order.order_id}"
