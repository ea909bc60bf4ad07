"""The consumer: everything that may happen between two polls of the log is in `turn`."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from adapters.errors import Fenced, StoreUnavailable, Unreadable
from adapters.ports import Clock, LogReader, Partition, Record
from adapters.store import progress as progress_rows
from adapters.store.dead_letters import DeadLetter
from adapters.store.progress import Advance
from adapters.store.transaction import Store
from consumer.apply import OrderWriter
from consumer.dead_letter_limit import DeadLetterLimit, TooManyDeadLetters
from consumer.hooks import NO_HOOKS, Hooks
from consumer.offsets import LOG_SHORTER, NO_TOPIC, grown, misfit, note_shorter
from statemachine.events import Event

log = structlog.get_logger("orderflow.consumer")

#: Records that one apply transaction takes at most.
BATCH: Final = 500
#: A partition whose offsets do not fit is looked at again after so long: somebody may have reset it.
LOOK_AGAIN_SECONDS: Final = 5.0

Decode = Callable[[bytes | None, Sequence[tuple[str, bytes]]], Event | None]


@dataclass(frozen=True, slots=True)
class Batch:
    """Records, and what they mean: events to apply and letters to set aside."""

    records: Sequence[Record]
    events: tuple[Event, ...]
    letters: tuple[DeadLetter, ...]


class Consumer:
    """One member of the group. Not thread-safe; one thread calls `turn`."""

    def __init__(
        self,
        reader: LogReader,
        store: Store,
        orders: OrderWriter,
        decoders: Mapping[str, Decode],
        clock: Clock,
        *,
        hooks: Hooks = NO_HOOKS,
        brake: DeadLetterLimit | None = None,
    ) -> None:
        self._reader = reader
        self._store = store
        self._orders = orders
        self._decoders = decoders
        self._clock = clock
        self._hooks = hooks
        self._brake = brake or DeadLetterLimit(clock)
        self._stopped: frozenset[str] = frozenset()
        self._generation = -1
        self._held: dict[Partition, int] = {}  # the position of each partition that is ours, by the progress row
        self._misfits: dict[Partition, str] = {}  # those that are ours and cannot be read, and why
        self._looked_at = float("-inf")
        #: When the last record of each partition was published that was passed.
        self._passed: dict[Partition, datetime] = {}

    def turn(self, timeout_seconds: float = 1.0) -> int:
        """Poll once and apply what came. Returns how many records were passed.

        Raises StoreUnavailable and LogUnavailable: then nothing is lost, the same records come again.
        """
        self._take_assignment()
        self._let_rest()
        try:
            return self._pass(self._reader.poll(BATCH, timeout_seconds))
        except BaseException:
            self._seek_back()  # whatever it was, the reader has gone on: what is not applied has to come again
            raise

    def _pass(self, polled: Sequence[Record]) -> int:
        """Apply what may be applied of it. Returns how many records were passed."""
        if self._reader.generation != self._generation:
            return 0  # dealt anew in the poll itself: what came may begin at the log's commit, so seek first
        records = self._without_jumps(polled)
        if not records:
            return 0
        try:
            self._apply(records)
        except Fenced:
            log.warning("fenced", partitions=sorted({f"{r.partition.topic}/{r.partition.number}" for r in records}))
            self._held = {}  # somebody else moved it: read the progress rows again
            return 0
        except TooManyDeadLetters:
            self._seek_back()
        self._reader.commit(self._held)
        return sum(record.offset < self._held[record.partition] for record in records)

    def lag(self) -> tuple[dict[Partition, int], dict[Partition, float]]:
        """Of each partition that is ours: how many records wait, and since when at most, in seconds.

        Raises LogUnavailable.
        """
        records = {partition: count for partition, count in self._reader.lag().items() if partition in self._held}
        now = self._clock.now()
        seconds = {
            partition: max(0.0, (now - self._passed.get(partition, now)).total_seconds()) if count else 0.0
            for partition, count in records.items()
        }
        return records, seconds

    def has_assignment(self) -> bool:
        """Whether the group has dealt to this member at least once."""
        return self._generation > 0

    def close(self) -> None:
        """Leave the group."""
        self._reader.close()

    # -- What is ours --------------------------------------------------------------------------------------------

    def _take_assignment(self) -> None:
        """Begin each new partition at its progress row, never at the log's own commit (docs/rules.md 8)."""
        generation, assigned = self._reader.generation, self._reader.assignment()
        dealt_anew = generation != self._generation
        if dealt_anew:
            self._generation = generation
            self._held, self._misfits = {}, {}
        look_again = self._misfits and self._clock.monotonic() - self._looked_at >= LOOK_AGAIN_SECONDS
        new = assigned - self._held.keys() - (frozenset() if look_again else self._misfits.keys())
        before = (set(self._held), dict(self._misfits))
        if new:
            self._looked_at = self._clock.monotonic()
            self._begin(new)
        # A look that found everything as it was is no news: it would be counted as one more deal, every few seconds.
        if dealt_anew or before != (set(self._held), self._misfits):
            self._hooks.partitions_assigned(self._held.keys(), self._misfits)

    def _begin(self, partitions: Collection[Partition]) -> None:
        partition_offsets = self._reader.partition_offsets(partitions)
        cluster = self._reader.cluster()
        with self._store.transaction() as tx:
            stored = progress_rows.begin(tx, cluster, self._reader.group, partition_offsets)
        partition_offsets = grown(self._reader.partition_offsets, stored, partition_offsets)
        found = {
            partition: misfit(stored[partition], partition_offsets[partition])
            if partition in partition_offsets
            else NO_TOPIC
            for partition in partitions
        }
        shorter = {partition: stored[partition] for partition, wrong in found.items() if wrong == LOG_SHORTER}
        if shorter:
            note_shorter(self._store, cluster, self._reader.group, shorter)
        for partition, wrong in sorted(found.items()):
            if wrong:
                if self._misfits.get(partition) != wrong:
                    log.error("progress_stopped", topic=partition.topic, partition=partition.number, reason=wrong)
                self._misfits[partition] = wrong
                continue
            if self._misfits.pop(partition, None):
                log.info("progress_goes_on", topic=partition.topic, partition=partition.number)
            self._reader.seek(partition, stored[partition].position)
            self._held[partition] = stored[partition].position

    def _without_jumps(self, polled: Sequence[Record]) -> list[Record]:
        """What may be applied: no partition whose offsets went back, or jumped over some that the log has no more.

        Left to itself the client goes to what is there when an offset is gone, and says nothing. Such a partition is
        looked at anew before it is read on. A log may have gaps of its own (compaction, transactions).
        """
        records = [record for record in polled if record.partition in self._held]
        firsts: dict[Partition, int] = {}
        for record in records:
            firsts.setdefault(record.partition, record.offset)
        jumped = {partition for partition, offset in firsts.items() if offset != self._held[partition]}
        if not jumped:
            return records
        partition_offsets = self._reader.partition_offsets(jumped)
        for partition in jumped:
            held = self._held[partition]
            if (
                firsts[partition] < held
                or partition not in partition_offsets
                or partition_offsets[partition].first > held
            ):
                del self._held[partition]
        return [record for record in records if record.partition in self._held]

    def _let_rest(self) -> None:
        stopped = self._brake.stopped()
        for topic in stopped - self._stopped:
            log.error("topic_stopped", topic=topic)
        if stopped != self._stopped:
            self._hooks.topics_paused(stopped)
        self._stopped = stopped
        resting = {partition for partition in self._held if partition.topic in stopped}
        self._reader.pause(resting | (self._reader.assignment() - self._held.keys()))

    def _seek_back(self) -> None:
        for partition, position in self._held.items():
            self._reader.seek(partition, position)

    def _apply(self, records: Sequence[Record]) -> None:
        """Apply a batch; one that cannot be applied is halved until the culprit stands alone, and that is set aside."""
        try:
            batch = self._decode(records)
            self._brake.check(batch.letters)
            applied = self._orders.apply(batch.events, self._moves(records), batch.letters)
        except (Fenced, StoreUnavailable):
            raise
        except Exception as error:
            if len(records) > 1:
                middle = len(records) // 2
                self._apply(records[:middle])
                self._apply(records[middle:])
                return
            if isinstance(error, TooManyDeadLetters):
                raise
            batch = Batch(records, (), (dead_letter(records[0], "not_applicable", type(error).__name__),))
            self._brake.check(batch.letters)
            applied = self._orders.apply((), self._moves(records), batch.letters)
        for record in records:
            self._held[record.partition] = record.offset + 1
            self._passed[record.partition] = record.published_at
        self._brake.note(batch.letters)
        for letter in batch.letters:
            tell = log.error if letter.reason == "not_applicable" else log.warning
            tell("set_aside", place=letter.place, reason=letter.reason, detail=letter.detail)
        self._hooks.batch_applied(records, applied, batch.letters)

    def _decode(self, records: Sequence[Record]) -> Batch:
        events: list[Event] = []
        letters: list[DeadLetter] = []
        for record in records:
            try:
                event = self._decoders[record.partition.topic](record.value, record.headers)
            except Unreadable as error:
                letters.append(dead_letter(record, error.reason, error.detail))
            else:
                if event is not None:
                    events.append(event)
        return Batch(records, tuple(events), tuple(letters))

    def _moves(self, records: Sequence[Record]) -> list[Advance]:
        ends = {record.partition: record.offset + 1 for record in records}
        cluster, group = self._reader.cluster(), self._reader.group
        # Sorted: one lock order for all.
        return [
            Advance(cluster, group, partition, self._held[partition], ends[partition]) for partition in sorted(ends)
        ]


def dead_letter(record: Record, reason: str, detail: str) -> DeadLetter:
    """A record that cannot be used, as received."""
    partition = f"{record.partition.topic}/{record.partition.number}/{record.offset}"
    # Headers count: in binary mode they hold what the event is about.
    digest = hashlib.sha256(repr((record.key, record.value, record.headers)).encode()).hexdigest()[:32]
    return DeadLetter(
        record.partition.topic, partition, reason, detail, digest, record.key, record.value, record.headers
    )
