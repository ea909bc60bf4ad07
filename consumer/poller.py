"""Mirakl to the log: one run reads everything that may be news of one shop, then publishes what is.

All pages are read before the first order is published: while orders change state, paging over a filter skips some
(docs/mirakl.md 6), and an acceptance between two pages would be one such change. The cursor moves last, and only when
every record is durable.
"""

import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import IO, Final, TypeVar

import structlog

from adapters.errors import Rejected, TooLarge, Unreadable
from adapters.messages.cloudevents import record_of
from adapters.messages.json_slices import slice_orders
from adapters.messages.snapshots import snapshot_event, snapshot_of
from adapters.messages.text import digest_of
from adapters.ports import Clock, LogWriter, Marketplace, NewRecord, OrdersQuery, batches_of_ids
from adapters.store import cursors as cursor_rows
from adapters.store import orders as order_rows
from adapters.store.cursors import Cursor
from adapters.store.dead_letters import DeadLetter
from adapters.store.leases import Lease
from adapters.store.transaction import Store
from consumer.hooks import NO_HOOKS, Hooks, PollResult
from statemachine.facts import EPOCH

log = structlog.get_logger("orderflow.poller")

V = TypeVar("V")

#: Why an order was set aside that the log will never take.
TOO_LARGE: Final = "too_large"

#: Handled by nobody yet, or waiting for us: read whole in every run, so that whatever was missed before appears again.
STATE_SWEEP: Final = ("WAITING_ACCEPTANCE", "SHIPPING")
PAGE: Final = 100
#: The update window reaches back over the last one by so much: Mirakl's replicas lag.
OVERLAP: Final = timedelta(minutes=5)
#: Once a day the window reaches back this far, for whatever the narrow ones missed.
WIDE: Final = timedelta(days=7)
WIDE_EVERY: Final = timedelta(days=1)
#: How far back the first window of a new shop reaches.
FIRST: Final = timedelta(days=30)
#: Pages overlap by so many orders: fewer may leave the listing between two pages and hide none.
OVERLAP_ORDERS: Final = 10
MAX_TARGETED: Final = 500
#: So many that wait for a read are looked at, to find those not asked for in vain a moment ago.
MAX_WAITING: Final = 20_000
#: More pages than this are no listing of one seller's open orders.
MAX_PAGES: Final = 5_000
#: What was published a moment ago, in orders: far more than one shop has open, so that age alone ends it.
REMEMBERED: Final = 1_000_000
REMEMBERED_FOR: Final = timedelta(minutes=10)
#: An id that was asked for in vain waits twice as long each time, up to this.
ASKED_AGAIN_AFTER: Final = timedelta(days=1)
SPOOL_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Found:
    """One order of one page."""

    order_id: str
    content: str
    read_at: datetime
    record: NewRecord
    raw: bytes
    number: int  # in its page


@dataclass(slots=True)
class _Spool:
    """Pages of one run, on disk where there are many."""

    file: IO[bytes] = field(default_factory=lambda: tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES))  # noqa: SIM115
    pages: list[tuple[list[int], datetime]] = field(default_factory=list)  # lengths of the orders, start of the read

    def add(self, orders: Sequence[bytes], read_at: datetime) -> None:
        self.pages.append(([len(raw) for raw in orders], read_at))
        self.file.writelines(orders)

    def __iter__(self) -> Iterator[tuple[list[bytes], datetime]]:
        self.file.seek(0)
        for lengths, read_at in self.pages:
            yield [self.file.read(length) for length in lengths], read_at


class Poller:
    """Polls one shop. One thread calls `run`."""

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
        set_aside: Callable[[Sequence[DeadLetter]], None],
        overlap: timedelta = OVERLAP,
        hooks: Hooks = NO_HOOKS,
    ) -> None:
        """`lease` is that of the shop, renewed; it raises Fenced where another process polls the shop by now."""
        self._shop = shop
        self._mirakl = mirakl
        self._store = store
        self._writer = writer
        self._clock = clock
        self._topic = topic
        self._lease = lease
        self._keep = set_aside
        self._overlap = overlap
        self._hooks = hooks
        # (content, the proof it was, when) of what was published a moment ago, so that a stopped consumer does not
        # flood the topic. It wears off: what the consumer set aside is offered again now and then.
        self._published: OrderedDict[str, tuple[str, datetime | None, datetime]] = OrderedDict()
        self._has_cursor = False
        # When an id was asked for that Mirakl does not show, and how long it waits for the next time: the OMS may speak
        # of orders that are not of this shop, and they must not crowd out those that are.
        self._in_vain: OrderedDict[str, tuple[datetime, timedelta]] = OrderedDict()

    def run(self) -> PollResult:
        """One run over everything. The cursor has not moved where it raises
        RemoteError, StoreUnavailable, LogUnavailable, Fenced, or Unreadable for a page that is no JSON."""
        started = self._clock.monotonic()
        began = self._clock.now()
        before = cursor_rows.find(self._store, self._shop)
        if before is None and self._has_cursor:
            self._published.clear()  # it was taken away, perhaps because the log has lost what left here
        self._has_cursor = before is not None
        wide = before is None or began - before.wide_at >= WIDE_EVERY
        since = before.watermark if before else began - FIRST
        if wide and before:
            since = min(since, began - WIDE)

        spool, outcome = _Spool(), PollResult()
        with spool.file:
            server_time = self._read(spool, OrdersQuery(states=STATE_SWEEP), outcome)
            window = OrdersQuery(updated_from=since, updated_to=server_time or began)
            self._read(spool, window, outcome)
            waiting = self._waiting(began)
            for order_ids in batches_of_ids(waiting):
                self._read_by_id(spool, order_ids, outcome)
            for page, read_at in spool:
                self._lease()
                self._publish(page, read_at, outcome)
                self._hooks.page_published(self._shop)
        for order_id in waiting:
            if order_id in outcome.seen:
                self._in_vain.pop(order_id, None)
            else:
                _, waited = self._in_vain.get(order_id, (began, REMEMBERED_FOR / 2))
                _remember(self._in_vain, order_id, (began, min(2 * waited, ASKED_AGAIN_AFTER)))

        if outcome.complete:
            # The earlier of the two clocks: a date far in the future would skip everything until then.
            reached = min(server_time or began, began)
            watermark = max(reached - self._overlap, before.watermark if before else EPOCH)
            cursor = Cursor(watermark, began if wide or before is None else before.wide_at, self._clock.now())
            lease = self._lease()
            with self._store.transaction() as tx:
                cursor_rows.save(tx, self._shop, cursor, lease)
            self._has_cursor = True
        self._hooks.poll_ended(self._shop, outcome, self._clock.monotonic() - started)
        return outcome

    # -- read ----------------------------------------------------------------------------------------------------

    def _waiting(self, now: datetime) -> list[str]:
        """Orders to ask for by id; one that was asked for in vain waits for its next turn."""
        waiting = order_rows.waiting_for_a_read(self._store, self._shop, now, MAX_WAITING)
        never = (EPOCH, REMEMBERED_FOR)
        due = []
        for order_id in waiting:
            asked_at, wait = self._in_vain.get(order_id, never)
            if now - asked_at >= wait:
                due.append(order_id)
        return due[:MAX_TARGETED]

    def _read_by_id(self, spool: _Spool, order_ids: Sequence[str], outcome: PollResult) -> None:
        """A listing that Mirakl refuses is halved until the id stands alone that it cannot take: the OMS sent it."""
        try:
            self._read(spool, OrdersQuery(order_ids=tuple(order_ids)), outcome)
        except Rejected as error:
            middle = len(order_ids) // 2
            if not middle:
                log.warning("id_refused", shop=self._shop, outcome=error.outcome)
                return
            self._read_by_id(spool, order_ids[:middle], outcome)
            self._read_by_id(spool, order_ids[middle:], outcome)

    def _read(self, spool: _Spool, query: OrdersQuery, outcome: PollResult) -> datetime | None:
        """Spool every page of one listing. Returns Mirakl's time at the first answer.

        The first order of every page has to be one that was read already: if it is not, orders have left the listing
        and the rest moved up, over the edge of a page that was read. Pages overlap, so that a few may leave; where
        more did, it goes back until it meets a known one. A page may be shorter than was asked for: the end is where
        the total says, or where nothing comes behind the orders known already.
        """
        known: set[str] = set()
        offset, back, first_time = 0, OVERLAP_ORDERS, None
        for _ in range(MAX_PAGES):
            self._lease()
            page = self._mirakl.orders(query, offset)
            first_time = first_time or page.server_time
            sliced = slice_orders(page.body)
            spool.add([order.raw for order in sliced.orders], page.read_at)
            ids, total = [order.identity for order in sliced.orders], sliced.total_count
            if offset and (not ids or ids[0] not in known):
                offset, back = max(0, offset - back), back * 2
                continue
            back = OVERLAP_ORDERS
            first_page, news = not known, not known.issuperset(ids)
            known.update(ids)
            if offset + len(ids) >= total if total is not None else len(ids) < PAGE:
                return first_time
            if not news or (first_page and len(ids) < 2):
                outcome.complete &= not first_page  # on a first page the total is not believed
                return first_time
            offset += max(1, len(ids) - OVERLAP_ORDERS)
        log.warning("listing_never_ends", shop=self._shop, states=query.states)
        outcome.complete = False
        return first_time

    # -- publish -------------------------------------------------------------------------------------------------

    def _publish(self, page: Sequence[bytes], read_at: datetime, outcome: PollResult) -> None:
        """Publish the orders of one page that are news; set aside those that can never be used."""
        found, letters = self._understand(page, read_at)
        outcome.seen.update(one.order_id for one in found)
        stored = order_rows.seen(self._store, self._shop, [one.order_id for one in found])
        news = [one for one in found if self._is_news(one, stored.get(one.order_id), outcome)]
        published, too_large = self._write(news)
        letters += [self._letter(one.raw, read_at, one.number, TOO_LARGE, "") for one in too_large]
        for one in published:
            proof = _proof(one, stored.get(one.order_id))
            _remember(self._published, one.order_id, (one.content, proof, self._clock.now()))
        if letters:
            self._set_aside(letters, read_at, outcome)

    def _write(self, news: Sequence[_Found]) -> tuple[list[_Found], list[_Found]]:
        """Publish these. Returns those that are published, and those that the log will never take."""
        published, too_large = list(news), []
        while published:
            try:
                self._writer.publish([one.record for one in published])
                break
            except TooLarge as error:
                too_large.append(published.pop(error.number))
        return published, too_large

    def _set_aside(self, letters: Sequence[DeadLetter], read_at: datetime, outcome: PollResult) -> None:
        """Keep what can never be used. It comes again in every run, and counts again only after a while."""
        fresh = [letter for letter in letters if not self._is_recent(letter.digest, letter.reason, None, read_at)]
        if not fresh:
            return
        self._keep(fresh)
        for letter in fresh:
            log.warning("set_aside", shop=self._shop, reason=letter.reason, detail=letter.detail)
            outcome.set_aside[letter.reason] += 1
            _remember(self._published, letter.digest, (letter.reason, None, self._clock.now()))

    def _understand(self, page: Sequence[bytes], read_at: datetime) -> tuple[list[_Found], list[DeadLetter]]:
        found: list[_Found] = []
        letters: list[DeadLetter] = []
        for number, raw in enumerate(page):
            try:
                order_id, snapshot = snapshot_of(raw, read_at)
            except Unreadable as error:
                letters.append(self._letter(raw, read_at, number, error.reason, error.detail))
                continue
            event = snapshot_event(self._shop, order_id, raw, snapshot)
            record = record_of(self._topic, event)
            found.append(_Found(order_id, snapshot.digest, read_at, record, raw, number))
        return found, letters

    def _letter(self, raw: bytes, read_at: datetime, number: int, reason: str, detail: str) -> DeadLetter:
        place = f"OR11 of {read_at.isoformat()}, order {number + 1}"
        return DeadLetter(f"poll:{self._shop}", place, reason, detail, digest_of(raw), None, raw)

    def _is_news(self, one: _Found, stored: order_rows.Seen | None, outcome: PollResult) -> bool:
        """It differs from what is stored, or it is the proof that the order waits for (docs/rules.md 16, 17)."""
        proof = _proof(one, stored)
        differs = stored is None or stored.digest != one.content
        if (differs or proof) and not self._is_recent(one.order_id, one.content, proof, one.read_at):
            if stored is None or not stored.digest:
                outcome.new += 1
            else:
                outcome.changed += 1
            return True
        outcome.same += 1
        return False

    def _is_recent(self, key: str, content: str, proof: datetime | None, read_at: datetime) -> bool:
        """It left here a moment ago, in this very form."""
        recent_content, recent_proof, when = self._published.get(key, ("", None, EPOCH))
        return (recent_content, recent_proof) == (content, proof) and read_at - when < REMEMBERED_FOR


def _proof(one: _Found, stored: order_rows.Seen | None) -> datetime | None:
    """The instant behind which the order waits for a read, where this read is one."""
    read_after = stored.read_after if stored else None
    return read_after if read_after is not None and one.read_at > read_after else None


def _remember(memory: OrderedDict[str, V], key: str, value: V) -> None:
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > REMEMBERED:
        memory.popitem(last=False)
