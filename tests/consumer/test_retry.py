"""The retry rule: what becomes of a command and of its account after a call that failed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import AccountFault, Duplicate, OutcomeUnknown, Rejected, RemoteError, Retryable
from consumer.retry import ACCOUNT_PAUSE_SECONDS, Backoff, TryResult, Verdict, after_failure

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FAR = NOW + timedelta(days=30)
BACKOFF = Backoff(5, 900)
KINDS: tuple[type[RemoteError], ...] = (Retryable, OutcomeUnknown, Rejected, Duplicate, AccountFault)


def verdict(
    kind: type[RemoteError],
    *,
    retry_after: float | None = None,
    attempts: int = 1,
    maybe_sent: bool = False,
    give_up_at: datetime = FAR,
    jitter: float = 0.0,
) -> Verdict:
    return after_failure(
        kind("OR21", "5xx", retry_after_seconds=retry_after),
        attempts=attempts,
        duplicate_is_ours=maybe_sent,
        give_up_at=give_up_at,
        now=NOW,
        backoff=BACKOFF,
        jitter=jitter,
    )


def in_seconds(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("kind", "maybe_sent", "expected"),
    [
        (Retryable, False, Verdict(TryResult.RETRY, in_seconds(5))),
        (OutcomeUnknown, False, Verdict(TryResult.UNKNOWN, in_seconds(5))),
        (Rejected, False, Verdict(TryResult.REJECTED)),
        (Rejected, True, Verdict(TryResult.REJECTED)),
        (Duplicate, False, Verdict(TryResult.REJECTED)),  # an order that is not ours
        (Duplicate, True, Verdict(TryResult.ALREADY_DONE)),  # an earlier try of ours may have reached the OMS
        (AccountFault, False, Verdict(TryResult.ACCOUNT_FAULT, in_seconds(60), in_seconds(60))),
    ],
)
def test_each_kind_of_failure_has_its_verdict(kind: type[RemoteError], maybe_sent: bool, expected: Verdict) -> None:
    assert verdict(kind, maybe_sent=maybe_sent) == expected


@given(
    kind=st.sampled_from(KINDS),
    retry_after=st.none() | st.floats(0, 86_400),
    attempts=st.integers(1, 10_000),
    jitter=st.floats(0, 1),
    give_up_in=st.floats(-1e6, 1e6),
    maybe_sent=st.booleans(),
)
def test_the_retry_rule_holds_for_any_failure(
    kind: type[RemoteError],
    retry_after: float | None,
    attempts: int,
    jitter: float,
    give_up_in: float,
    maybe_sent: bool,
) -> None:
    give_up_at = in_seconds(give_up_in)
    ruled = verdict(
        kind, retry_after=retry_after, attempts=attempts, jitter=jitter, give_up_at=give_up_at, maybe_sent=maybe_sent
    )
    assert ruled.result in TryResult
    asked = timedelta(seconds=retry_after or 0)
    if kind is AccountFault:  # never given up: the order is not at fault
        assert ruled.result == TryResult.ACCOUNT_FAULT
        assert ruled.pause_until is not None
        assert ruled.pause_until >= NOW + max(asked, timedelta(seconds=1)), (
            "an account at fault is not called again and again"
        )
        assert ruled.next_at == ruled.pause_until
    elif kind in (Retryable, OutcomeUnknown):
        wait = timedelta(seconds=BACKOFF.seconds(attempts, jitter))
        if ruled.result == TryResult.GAVE_UP:
            assert NOW + max(wait, asked) > give_up_at
        else:
            assert ruled.next_at is not None
            assert ruled.next_at >= NOW + asked, "never earlier than Retry-After"
            assert ruled.next_at <= give_up_at, "never behind the deadline"
            assert ruled.next_at == NOW + max(wait, asked)
        assert ruled.pause_until is None
    else:
        assert ruled.next_at is None, "a final answer is not asked for again"


@given(attempts=st.integers(1, 100_000), jitter=st.floats(0, 1))
def test_back_off_doubles_is_capped_and_jitters_down_to_half(attempts: int, jitter: float) -> None:
    wait = BACKOFF.seconds(attempts, jitter)
    full = BACKOFF.seconds(attempts, 0)
    assert full / 2 <= wait <= full <= 900
    assert full == min(5 * 2 ** min(attempts - 1, 20), 900)
    assert BACKOFF.seconds(attempts + 1, 0) >= full


def test_a_command_is_given_up_at_its_deadline_however_often_it_was_tried() -> None:
    assert verdict(Retryable, attempts=100_000).result == TryResult.RETRY
    assert verdict(Retryable, attempts=1, give_up_at=in_seconds(4.9)).result == TryResult.GAVE_UP
    assert verdict(Retryable, attempts=1, give_up_at=in_seconds(5)).result == TryResult.RETRY
    assert verdict(OutcomeUnknown, give_up_at=in_seconds(4)).result == TryResult.GAVE_UP
    assert verdict(Retryable, retry_after=3600, give_up_at=in_seconds(3599)).result == TryResult.GAVE_UP


def test_an_account_at_fault_pauses_as_long_as_the_remote_asks_and_never_not_at_all() -> None:
    assert verdict(AccountFault, retry_after=7).pause_until == in_seconds(7)
    for at_once in (None, 0.0):
        assert verdict(AccountFault, retry_after=at_once).pause_until == in_seconds(ACCOUNT_PAUSE_SECONDS)
    assert verdict(AccountFault, give_up_at=in_seconds(-1)).result == TryResult.ACCOUNT_FAULT
