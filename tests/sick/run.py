"""Makes one part sick, heals it, and judges what was seen."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from consumer.demo.fleet import GOOD_ENDS
from tests.sick.service import SHOPS, Service
from tests.sick.sickness import LATER_SECONDS, Sickness
from tests.sick.watch import PATHS, Memory, Seen, Watch
from tests.sick.waves import Wave, lives_of

#: Probes and metrics may take this much longer than usual, and so may this share of them.
ANSWER_LATER_SECONDS = 0.1
SHARE = 0.9
#: A probe of a process that is not stopped has to answer within this time, always.
LONGEST_ANSWER_SECONDS = 2.5
#: The log may grow by this much in a minute.
LOG_BYTES_A_MINUTE = 1_000_000
#: The memory of a process may grow by this much,
MEMORY_BYTES = 30 * 1024 * 1024
#: and by this much for a moment. Python looks for garbage after 100,000 new objects (consumer/garbage.py). When a
#: broker freezes, kafka-python makes so many in the three seconds until its session ends, and they take 40 MB.
PEAK_BYTES = 56 * 1024 * 1024
#: An order arrives in each shop this often.
EVERY_SECONDS = 2.0
USUAL_SECONDS = 8.0
SETTLES_SECONDS = 60.0


@dataclass(slots=True)
class Usual:
    """What is usual on this machine now: measured while nothing is sick."""

    order_seconds: float = 0.0  # the slowest of the orders
    answers: dict[str, float] = field(default_factory=dict)  # as Result.answers

    @property
    def answer_seconds(self) -> float:
        return max(self.answers.values(), default=0.0)


@dataclass(slots=True)
class Result:
    """What was seen of one sickness. `wrong`: a sentence for each check that failed."""

    sickness: Sickness
    sick_seconds: float = 0.0
    usual: Usual = field(default_factory=Usual)
    others: int = 0
    others_seconds: float = 0.0  # the slowest of the orders that the sickness may not touch
    answers: dict[str, float] = field(default_factory=dict)  # for each path: the time of SHARE of its answers
    memory: dict[str, Memory] = field(default_factory=dict)  # by process
    settled_seconds: float = 0.0  # from the heal until every order has ended
    not_ready: tuple[str, ...] = ()
    signs: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)  # a sentence for each time that was too long

    @property
    def answer_seconds(self) -> float:
        return max(self.answers.values(), default=0.0)

    @property
    def passed(self) -> bool:
        return not self.wrong and not self.late


def usual(service: Service, seconds: float = USUAL_SECONDS) -> Usual:
    """Let orders through while nothing is sick. Raises AssertionError if they do not arrive."""
    watch = Watch(service.fleet)
    wave = Wave(service.simulated, lives_of(SHOPS, seconds, EVERY_SECONDS))
    try:
        late = _until(lambda: wave.settled(service.store), SETTLES_SECONDS)
        assert late is not None, f"nothing is sick, and these orders wait: {wave.waiting()}"
    finally:
        wave.stop()
        seen = watch.stop()
    return Usual(max(wave.seconds().values()), seen.slowest(SHARE))


def play(service: Service, sickness: Sickness, now_usual: Usual, on_step: Callable[[str], None]) -> Result:
    """Play one sickness to its end. `judge_times` comes after it, when it is known what is usual then."""
    result = Result(sickness, usual=now_usual)
    watch = Watch(service.fleet)
    wave = Wave(service.simulated, [])
    began = time.monotonic()
    on_step(f"{sickness.part}: sick for {sickness.seconds:.0f} s")
    with _noting(result, "while it is sick"):
        sickness.begin(service)
        for guest in service.guests.values():
            watch.add(guest)
        wave = Wave(service.simulated, lives_of(sickness.shops, sickness.seconds, EVERY_SECONDS))
        time.sleep(sickness.seconds)
    seen = watch.stop()
    with _noting(result, "a sign"):
        _judge_signs(result, service, seen)
    result.sick_seconds = time.monotonic() - began
    on_step("it is healed")
    with _noting(result, "the cure"):
        service.held.close()
        sickness.heal(service)
    ends = service.end_guests()
    result.wrong += [f"{name} ended with exit status {ends[name]}" for name in ends if ends[name] not in GOOD_ENDS]
    with _noting(result, "after it"):
        _wait_for_health(result, service, wave)
    wave.stop()
    _judge_others(result, wave)
    _judge_probes(result, seen)
    _judge_processes(result, service, seen)
    with _noting(result, "the audit"):
        cured = [sign for sign in sickness.cured if not sign.seen(seen, service)]
        result.wrong += [f"after the cure, not seen: {sign.text}" for sign in cured]
        result.wrong += wave.findings(service.store)
    return result


@contextmanager
def _noting(result: Result, what: str) -> Iterator[None]:
    """Note an error as a failed check, so that the part is healed, and the other sicknesses are played."""
    try:
        yield
    except Exception as error:
        result.wrong.append(f"{what}: {type(error).__name__}: {error}")


def _wait_for_health(result: Result, service: Service, wave: Wave) -> None:
    healed_at, usual_seconds = time.monotonic(), result.sickness.recovery_seconds
    if _until(lambda: wave.settled(service.store), usual_seconds + SETTLES_SECONDS) is None:
        waiting = ", ".join(wave.waiting())
        result.wrong.append(f"orders still wait {usual_seconds + SETTLES_SECONDS:.0f} s after it: {waiting}")
    result.settled_seconds = time.monotonic() - healed_at
    if result.settled_seconds > usual_seconds:
        result.wrong.append(f"the last order ended {result.settled_seconds:.0f} s after it")


def judge_times(result: Result, after: Usual) -> None:
    """Compare the times with what is usual before and after: another program may have made the machine slower."""
    order_seconds = max(result.usual.order_seconds, after.order_seconds)
    answers = {path: max(result.usual.answers.get(path, 0.0), after.answers.get(path, 0.0)) for path in PATHS}
    result.usual = Usual(order_seconds, answers)
    if result.others_seconds > order_seconds + LATER_SECONDS:
        text = f"an order of others took {result.others_seconds:.1f} s, usual are {order_seconds:.1f} s"
        result.late.append(text)
    result.late += [
        f"{path} takes {took * 1000:.0f} ms, usual are {answers[path] * 1000:.0f} ms"
        for path, took in result.answers.items()
        if took > answers[path] + ANSWER_LATER_SECONDS
    ]


def _judge_signs(result: Result, service: Service, seen: Seen) -> None:
    result.not_ready = tuple(sorted(seen.wrong()))
    for sign in result.sickness.signs:
        if sign.seen(seen, service):
            result.signs.append(sign.text)
        else:
            result.wrong.append(f"not seen: {sign.text}")


def _judge_others(result: Result, wave: Wave) -> None:
    took = wave.seconds()
    others = [one for one in wave.lives if not result.sickness.touches.holds(one)]
    result.others = len(others)
    late = [one.order_id for one in others if one.order_id not in took]
    result.wrong += [f"{one}: is not shipped, and the sickness is not its own" for one in late]
    result.others_seconds = max((took[one.order_id] for one in others if one.order_id in took), default=0.0)


def _judge_probes(result: Result, seen: Seen) -> None:
    quiet = result.sickness.quiet
    result.answers = seen.slowest(SHARE, quiet)
    asked = [one for one in seen.probes if one.member not in quiet]
    for one in asked:
        if one.status == 0 or one.seconds > LONGEST_ANSWER_SECONDS:
            result.wrong.append(f"{one.member}{one.path} did not answer in {one.seconds:.1f} s")
        elif one.path == "/live" and one.status != 200:
            result.wrong.append(f"{one.member} is not live: {one.wrong}")
    result.wrong = list(dict.fromkeys(result.wrong))


def _judge_processes(result: Result, service: Service, seen: Seen) -> None:
    result.wrong += [f"{name} ended with exit status {status}" for name, status in seen.ended.items()]
    service.fleet.restart_dead()
    allowed = LOG_BYTES_A_MINUTE * max(1.0, result.sick_seconds / 60)
    if seen.bytes_logged > allowed:
        result.wrong.append(f"the log grew by {seen.bytes_logged:,} bytes")
    judge_memory(result, seen.memory)


def judge_memory(result: Result, memory: Mapping[str, Memory]) -> None:
    result.memory = dict(memory)
    for name, one in memory.items():
        if one.last - one.first > MEMORY_BYTES:
            result.wrong.append(f"the memory of {name} grew by {one.last - one.first:,} bytes")
        elif one.most - one.first > PEAK_BYTES:
            result.wrong.append(f"the memory of {name} grew by {one.most - one.first:,} bytes for a moment")


def _until(holds: Callable[[], object], seconds: float) -> float | None:
    """Wait until the condition holds. Returns how long that took, or None if it does not hold within `seconds`."""
    began = time.monotonic()
    while True:
        if holds():
            return time.monotonic() - began
        if time.monotonic() - began >= seconds:
            return None
        time.sleep(0.1)
