"""The poller: reads, page by page, the orders of one shop that may have changed, then publishes the changed ones.

All pages are read before the first order is published. If an order changes state while a filtered listing is read, the
next page may skip another order (docs/mirakl.md 6). A worker that accepts an order that was just published would cause
such a change. The cursor moves last, when every record is durable.
"""

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

import structlog

from adapters.errors import Cause, RecordRefused, Rejected, RemoteError, Unreadable, UnreadableReason
from adapters.messages.cloudevents import from_record, record_of
from adapters.messages.identity import same_read
from adapters.messages.json_slices import LONGEST_ORDER, member, slice_orders
from adapters.messages.snapshots import snapshot_event, snapshot_of
from adapters.ports import Clock, LogWriter, Marketplace, NewRecord, OrdersQuery, batches_of_ids
from adapters.remotes.http import CallOutcome
from adapters.store import cursors as cursor_rows
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import orders as order_rows
from adapters.store.cursors import Cursor
from adapters.store.dead_letters import POLL, QUARANTINED, TOO_LARGE, DeadLetter, identity, reason_of, source_of
from adapters.store.leases import Lease
from adapters.store.schema import DeadLetterState
from adapters.store.transaction import Store
from consumer.hooks import NO_HOOKS, Hooks, PollResult
from consumer.polling.poll_memory import AskedInVain, PublishedMemory, ReadBefore
from consumer.polling.spool import Spool
from statemachine.facts import EPOCH

log = structlog.get_logger("orderflow.poller")

T = TypeVar("T")

#: Orders that wait for a decision or for an import. Every run reads all of them, so that an order that was missed once
#: appears again.
SWEPT_STATES: Final = ("WAITING_ACCEPTANCE", "SHIPPING")
#: The largest number of orders on a page of OR11.
PAGE: Final = 100
#: How far the update window reaches back into the window before it, because Mirakl's replicas lag.
OVERLAP: Final = timedelta(minutes=5)
#: How far the update window reaches back once a day, for updates that the narrow windows missed.
WIDE_WINDOW: Final = timedelta(days=7)
WIDE_EVERY: Final = timedelta(days=1)
#: How far the first window of a new shop reaches back.
FIRST_WINDOW: Final = timedelta(days=30)
#: Full pages overlap by this many orders, and shorter pages by the same share of theirs. So this many orders may leave
#: the listing between two pages, and no other order is missed.
OVERLAP_ORDERS: Final = 10
#: The largest number of orders that one run asks for by id.
MAX_BY_ID: Final = 500
#: A run looks at this many of the orders that wait for a read, and asks for MAX_BY_ID of them at most.
MAX_WAITING: Final = 20_000
#: A page that is longer than we read is asked for again with half as many orders, and at least so many: pages overlap.
LEAST_ON_A_PAGE: Final = 3
#: A listing with more pages is taken for an endless one, because no seller has so many open orders.
MAX_PAGES: Final = 5_000
#: The most orders of one listing: a run keeps the id of each. A page may hold a thousand.
MAX_ORDERS: Final = 200_000
#: A run that waits for a page may go on until this time after it began. Then its first pages are too old.
PAUSED_LONGEST: Final = timedelta(hours=1)
#: Stands for the ids of all unusable orders that have none, or none that can be read. It is not JSON, as every id is.
_NO_ID: Final = b"no id"
#: An order that the consumer could not use is published again after this time, or when it changes.
DEAD_FOR: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _ReadOrder:
    """One order of one page."""

    order_id: str
    digest: str
    read_at: datetime
    raw: bytes
    number: int  # its index in the page

    def record(self, topic: str, shop: str) -> NewRecord:
        return record_of(topic, snapshot_event(shop, self.order_id, self.raw, self.digest, self.read_at))

    def is_in(self, letter: DeadLetter) -> bool:
        """Whether this dead letter holds the same order, as it was published before."""
        try:
            event = from_record(letter.value, letter.headers)
            return event is not None and snapshot_of(event.data, self.read_at)[1].digest == self.digest
        except Unreadable:
            return False

    def proof(self, stored: order_rows.Seen | None) -> datetime | None:
        """Return the instant after which the order waits for a read, if this read began later, else None.

        Such a read is the proof of docs/rules.md 16.
        """
        read_after = stored.read_after if stored else None
        return read_after if read_after is not None and self.read_at > read_after else None


#: What a run does until it ends with a T, or until Mirakl refuses a page because it was called too often (429). It
#: yields this error, and goes on at the same page.
_Steps = Generator[RemoteError, None, T]


@dataclass(frozen=True, slots=True)
class _Run:
    """A run that has begun, and what was true then."""

    began: datetime
    before: Cursor | None
    steps: _Steps[PollResult]

    def can_go_on(self, now: datetime, cursor: Cursor | None) -> bool:
        """Whether its pages still count. After a reset (no cursor), and after PAUSED_LONGEST, a run begins again."""
        return cursor == self.before and timedelta(0) <= now - self.began <= PAUSED_LONGEST


class Poller:
    """Polls one shop. Not thread-safe: one thread calls `run`."""

    def __init__(
        self,
        shop: str,
        mirakl: Marketplace,
        store: Store,
        writer: LogWriter,
        clock: Clock,
        *,
        topic: str,
        lease: Callable[[], Lease],
        store_dead_letters: Callable[[Sequence[DeadLetter]], None],
        note_missing: Callable[[str, Collection[str], datetime], Collection[str]],
        overlap: timedelta = OVERLAP,
        hooks: Hooks = NO_HOOKS,
    ) -> None:
        """`lease` returns the lease of the shop's polls, renewed. It raises Fenced if another process has the lease.

        `note_missing` notes that a read by id did not show some orders (missing.py).
        """
        self._shop = shop
        self._mirakl = mirakl
        self._store = store
        self._writer = writer
        self._clock = clock
        self._topic = topic
        self._lease = lease
        self._store_dead_letters = store_dead_letters
        self._note_missing = note_missing
        self._overlap = overlap
        self._hooks = hooks
        self._published = PublishedMemory()
        self._read_before = ReadBefore()
        self._in_vain = AskedInVain()
        self._has_cursor = False
        self._paused: _Run | None = None

    def run(self) -> PollResult:
        """Read the orders that may have changed, publish the changed ones, and move the cursor.

        Raises RemoteError, StoreUnavailable, LogUnavailable, Fenced, and Unreadable for a page that is not JSON. Then
        the cursor has not moved, unless the store was lost during the commit that moves it. If Mirakl refused a page
        because it was called too often (429), the next `run` goes on at this page (`is_paused`).
        """
        if self._paused is not None and not self._paused.can_go_on(self._clock.now(), self._stored_cursor()):
            self.forget()
        paused, self._paused = self._paused or self._new_run(), None
        try:
            error = next(paused.steps)
        except StopIteration as ended:
            result: PollResult = ended.value
            return result
        self._paused = paused
        raise error

    @property
    def is_paused(self) -> bool:
        """Whether the last run waits until Mirakl may be called again, with the pages that it has read."""
        return self._paused is not None

    def forget(self) -> None:
        """Drop a paused run: the next one begins at the first page. Called when another process polls the shop."""
        if self._paused is not None:
            self._paused.steps.close()
            self._paused = None

    def _new_run(self) -> "_Run":
        began, before = self._clock.now(), self._stored_cursor()
        return _Run(began, before, self._steps(began, before))

    def _steps(self, began: datetime, before: Cursor | None) -> "_Steps[PollResult]":
        started = self._clock.monotonic()
        self._read_before.begin_run()
        wide = before is None or began - before.wide_at >= WIDE_EVERY
        result = PollResult()
        with closing(Spool()) as spool:
            server_time = yield from self._read(spool, OrdersQuery(states=SWEPT_STATES), result)
            since = _start_of_window(before, began, wide)
            yield from self._read(spool, OrdersQuery(updated_from=since, updated_to=server_time or began), result)
            asked = self._ids_to_ask_for(began, result)
            refused: set[str] = set()
            for order_ids in batches_of_ids(asked):
                refused |= yield from self._read_by_id(spool, order_ids, result)
            for page, read_at in spool.pages():
                self._lease()
                self._publish(page, read_at, result)
                self._hooks.page_published(self._shop)
        self._remember_missing(asked, refused, began, result)
        if result.complete:
            # The earlier of both clocks counts. If Mirakl sent a date far in the future, the polls would skip every
            # update until that date.
            watermark = max(min(server_time or began, began) - self._overlap, before.watermark if before else EPOCH)
            wide_at = began if wide or before is None else before.wide_at
            self._save_cursor(Cursor(watermark, wide_at, self._clock.now()))
        self._hooks.poll_ended(self._shop, result, self._clock.monotonic() - started)
        return result

    def _stored_cursor(self) -> Cursor | None:
        cursor = cursor_rows.find(self._store, self._shop)
        if cursor is None and self._has_cursor:
            self._published.clear()  # a reset removed the cursor: the log may have lost what was published
        self._has_cursor = cursor is not None
        return cursor

    def _save_cursor(self, cursor: Cursor) -> None:
        lease = self._lease()
        with self._store.transaction() as tx:
            cursor_rows.save(tx, self._shop, cursor, lease)
        self._has_cursor = True

    # -- read ----------------------------------------------------------------------------------------------------

    def _ids_to_ask_for(self, now: datetime, result: PollResult) -> list[str]:
        """Return the orders that wait for a read, without those that this run has read, those that Mirakl did not show
        a short time ago, and those whose id has a comma: Mirakl takes it for two ids (docs/mirakl.md 5.2)."""
        waiting = order_rows.waiting_for_a_read(self._store, self._shop, now, MAX_WAITING)
        unread = (order_id for order_id in waiting if order_id not in result.listed and "," not in order_id)
        return [order_id for order_id in unread if self._in_vain.is_due(order_id, now)][:MAX_BY_ID]

    def _read_by_id(self, spool: Spool, order_ids: Sequence[str], result: PollResult) -> "_Steps[set[str]]":
        """Read these orders. Returns the ids that Mirakl refused.

        An id may come from the OMS. If Mirakl refuses one id, it refuses the whole listing. Then the ids are halved
        until the refused id is alone, and it is left out.
        """
        try:
            yield from self._read(spool, OrdersQuery(order_ids=tuple(order_ids)), result)
        except Rejected as error:
            middle = len(order_ids) // 2
            if not middle:
                log.warning("id_refused", shop=self._shop, outcome=error.outcome)
                return set(order_ids)
            refused = yield from self._read_by_id(spool, order_ids[:middle], result)
            return refused | (yield from self._read_by_id(spool, order_ids[middle:], result))
        return set()

    def _remember_missing(
        self, asked: Sequence[str], refused: Collection[str], began: datetime, result: PollResult
    ) -> None:
        """Remember which of these orders Mirakl did not show. If an earlier read showed an order, the miss may become a
        fact (missing.py). Every other order is asked for less and less often."""
        shown = result.seen | result.listed
        absent = [order_id for order_id in asked if order_id not in shown]
        for order_id in set(asked) - set(absent):
            self._in_vain.shown(order_id)
        sure = [order_id for order_id in absent if order_id not in refused] if result.complete else []
        noted = self._note_missing(self._shop, sure, began)
        for order_id in set(absent) - set(noted):
            self._in_vain.not_shown(order_id, began)

    def _read(self, spool: Spool, query: OrdersQuery, result: PollResult) -> "_Steps[datetime | None]":
        """Read every page of one listing into the spool. Returns Mirakl's time at the first page.

        The first order of each page has to be known from an earlier page. If it is not, orders have left the listing,
        the later orders have moved up, and some may be missed. Pages overlap, so no order is missed if a few leave. If
        more leave, the next page starts further back, until its first order is known.

        Some servers give fewer orders than asked, so a page may hold fewer than PAGE. So the next offset depends on the
        length of the page. The listing ends at the total that Mirakl gives, or at a page whose orders are all known. If
        there is no total, a short first page may still be followed by others.
        """
        known: set[str] = set()
        offset, back, first_time = 0, OVERLAP_ORDERS, None
        for _ in range(MAX_PAGES):
            if spool.is_full or len(known) >= MAX_ORDERS:
                break
            self._lease()
            try:
                page = self._mirakl.orders(query, offset)
            except RemoteError as error:
                if error.cause == Cause.TOO_LONG and query.most > LEAST_ON_A_PAGE:
                    query = replace(query, most=max(LEAST_ON_A_PAGE, query.most // 2))
                    continue
                if error.outcome != CallOutcome.TOO_MANY_REQUESTS:
                    raise
                yield error
                continue  # the same page again
            self._hooks.page_read(self._shop)
            first_time = first_time or page.server_time
            sliced = slice_orders(page.body)
            spool.add([order.raw for order in sliced.orders], page.read_at)
            ids, total = [order.identity for order in sliced.orders], sliced.total_count
            if offset and (not ids or ids[0] not in known):
                offset, back = max(0, offset - back), back * 2
                continue
            back = OVERLAP_ORDERS
            is_first, has_new = not known, not known.issuperset(ids)
            known.update(ids)
            result.listed.update(ids)
            if offset + len(ids) >= total if total is not None else not ids:
                return first_time
            if not has_new or (is_first and total is not None and len(ids) < 2):
                result.complete &= not is_first  # a first page that contradicts the total leaves the listing unread
                return first_time
            offset += max(1, len(ids) - max(1, len(ids) * OVERLAP_ORDERS // PAGE))
        log.warning("listing_never_ends", shop=self._shop, states=query.states)
        result.complete = False
        return first_time

    # -- publish -------------------------------------------------------------------------------------------------

    def _publish(self, page: Sequence[bytes], read_at: datetime, result: PollResult) -> None:
        """Publish the orders of one page that are news (`_is_news`), and dead-letter those that can never be used."""
        orders, dead_letters = self._parse(page, read_at)
        result.seen.update(order.order_id for order in orders)
        stored = order_rows.seen(self._store, self._shop, [order.order_id for order in orders])
        dead = self._dead(orders, stored)
        news = [order for order in orders if self._is_news(order, stored.get(order.order_id), dead, result)]
        published, refused = _written(self._writer, self._topic, self._shop, news)
        for order in published:
            proof = order.proof(stored.get(order.order_id))
            self._published.add(order.order_id, order.digest, self._clock.now(), proof=proof)
        dead_letters += [self._dead_letter_of(one.raw, read_at, one.number, reason, "") for one, reason in refused]
        self._dead_letter(dead_letters, read_at, result)

    def _parse(self, page: Sequence[bytes], read_at: datetime) -> tuple[list[_ReadOrder], list[DeadLetter]]:
        orders: list[_ReadOrder] = []
        dead_letters: list[DeadLetter] = []
        for number, raw in enumerate(page):
            if len(raw) > LONGEST_ORDER:
                dead_letters.append(self._dead_letter_of(raw, read_at, number, TOO_LARGE, ""))
                continue
            try:
                order_id, digest = self._read_before.find(raw, lambda raw: _id_and_digest(raw, read_at))
            except Unreadable as error:
                dead_letters.append(self._dead_letter_of(raw, read_at, number, error.reason, error.detail))
                continue
            except Exception as error:  # one order that raises an unexpected error stops no other order of the shop
                detail = type(error).__name__  # the text of an error may contain values
                dead_letters.append(self._dead_letter_of(raw, read_at, number, UnreadableReason.BAD_FIELD, detail))
                continue
            orders.append(_ReadOrder(order_id, digest, read_at, raw, number))
        return orders, dead_letters

    def _dead(self, orders: Sequence[_ReadOrder], stored: Mapping[str, order_rows.Seen]) -> set[str]:
        """Return the ids of the orders of which the consumer could not use this same read.

        They are published again after a day, because a later version may understand them, and at once when their
        quarantine has ended.
        """
        unknown = {
            identity(order.raw, f"{self._shop}:{order.order_id}".encode()): order
            for order in orders
            if (seen := stored.get(order.order_id)) is None or not same_read(order.raw, order.digest, seen.digest)
        }
        since = self._clock.now() - DEAD_FOR
        dead = set()
        for digest, letter in dead_letter_rows.of_digests(self._store, self._topic, unknown).items():
            order = unknown[digest]
            seen = stored.get(order.order_id)
            is_over = letter.last_at <= since or letter.state == DeadLetterState.REPLAYED
            if letter.reason == QUARANTINED and seen is not None:
                is_over = is_over or not seen.is_quarantined
            if not is_over and order.is_in(letter):
                dead.add(order.order_id)
        return dead

    def _is_news(
        self, order: _ReadOrder, stored: order_rows.Seen | None, dead: Collection[str], result: PollResult
    ) -> bool:
        """Whether the order has to be published (docs/rules.md 16, 17). Counts the order in `result`.

        It has to be published if it differs from the stored order, or if it is the proof that the order waits for. It
        is not published again if the same was published a short time ago.
        """
        proof = order.proof(stored)
        differs = order.order_id not in dead and (
            stored is None or not same_read(order.raw, order.digest, stored.digest)
        )
        if not (differs or proof) or self._published.has(order.order_id, order.digest, order.read_at, proof=proof):
            result.same += 1
            return False
        if stored is None or not stored.digest:
            result.new += 1
        else:
            result.changed += 1
        return True

    def _dead_letter(self, found: Sequence[DeadLetter], read_at: datetime, result: PollResult) -> None:
        """Store these dead letters. Every run reads an unusable order again, but stores it only from time to time."""
        new = [
            (one, orders)
            for one, orders in _one_of_each(found)
            if not self._published.has(f"{one.reason}:{one.digest}", one.reason, read_at)
        ]
        if not new:
            return
        self._store_dead_letters([one for one, _ in new])
        for one, orders in new:
            log.warning("dead_lettered", shop=self._shop, reason=one.reason, detail=one.detail)
            result.dead_letters[one.reason] += orders
            self._published.add(f"{one.reason}:{one.digest}", one.reason, self._clock.now())

    def _dead_letter_of(self, raw: bytes, read_at: datetime, number: int, reason: str, detail: str) -> DeadLetter:
        place = f"OR11 of {read_at.isoformat()}, order {number + 1}"
        return DeadLetter(source_of(POLL, self._shop), place, reason, detail, _identity_of(raw), None, raw)


def _one_of_each(found: Sequence[DeadLetter]) -> list[tuple[DeadLetter, int]]:
    """Return the first of each identity and reason, and how many there are. If there are several, its detail says so.

    The orders of a page that have no id are one for each reason. A page may have MOST_ORDERS of them.
    """
    found_of: dict[tuple[str, str], list[DeadLetter]] = {}
    for one in found:
        found_of.setdefault((one.digest, one.reason), []).append(one)
    return [(_counted(same[0], len(same)), len(same)) for same in found_of.values()]


def _counted(one: DeadLetter, orders: int) -> DeadLetter:
    return one if orders == 1 else replace(one, detail=f"{one.detail} ({orders} orders of one page)".strip())


def _identity_of(raw: bytes) -> str:
    """Return the digest of an unusable order's id. Those that have none, or none that can be read, share one digest.

    An order that is too long to be parsed has the digest of its content. A page has room for few of these.
    """
    if len(raw) > LONGEST_ORDER:
        return identity(raw)
    with suppress(Unreadable):
        shown = member(raw, "order_id")
        if shown.strip(b'" ') not in (b"", b"null"):
            return identity(raw, shown)
    return identity(raw, _NO_ID)


def _id_and_digest(raw: bytes, read_at: datetime) -> tuple[str, str]:
    order_id, snapshot = snapshot_of(raw, read_at)
    return order_id, snapshot.digest


def _written(
    writer: LogWriter, topic: str, shop: str, news: Sequence[_ReadOrder]
) -> tuple[list[_ReadOrder], list[tuple[_ReadOrder, str]]]:
    """Publish these orders. Returns those that are published, and those that the log refuses, with the reason."""
    published, refused = list(news), []
    while published:
        try:
            writer.publish([order.record(topic, shop) for order in published])
            break
        except RecordRefused as error:
            refused.append((published.pop(error.number), reason_of(error)))
    return published, refused


def _start_of_window(before: Cursor | None, began: datetime, wide: bool) -> datetime:
    if before is None:
        return began - FIRST_WINDOW
    return min(before.watermark, began - WIDE_WINDOW) if wide else before.watermark
