"""Which callbacks repeat the one before follows from the set of receipts, not from their order of arrival."""

from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from statemachine.facts import EPOCH, Cancellation, Dispatch, Facts, Receipt, Unread
from statemachine.joining import join
from statemachine.questions.receipts import cancellations_once, dispatches_once, repeats, unread_once
from tests.statemachine.lives import at

contents = st.lists(st.sampled_from("ABC"), max_size=8)


def callback(n: int, content: str) -> Facts:
    return Facts(
        receipts=(Receipt(at(n), content),),
        dispatches=(Dispatch(1, at(n), told_at=at(n)),),
        cancellations=(Cancellation(1, (), at(n)),),
        unread=(Unread(at(n), "bad_field"),),
    )


@given(contents, st.data())
def test_a_run_of_equal_callbacks_is_one_report(sent: list[str], data: st.DataObject) -> None:
    arrival = data.draw(st.permutations([callback(n, content) for n, content in enumerate(sent)]))
    facts = reduce(join, arrival, Facts())
    again = {at(n) for n, content in enumerate(sent) if n and sent[n - 1] == content}
    assert repeats(facts) == again
    news = [at(n) for n in range(len(sent)) if at(n) not in again]
    assert [one.told_at for one in dispatches_once(facts)] == news
    assert [one.told_at for one in cancellations_once(facts)] == news
    assert [one.at for one in unread_once(facts)] == news


def test_two_callbacks_of_one_instant_and_what_no_callback_reports_are_news() -> None:
    known = Facts(
        receipts=(Receipt(at(1), "A"), Receipt(at(2), "A"), Receipt(at(2), "B")),
        dispatches=(Dispatch(1, at(0), told_at=EPOCH), Dispatch(1, at(2), told_at=at(2))),
    )
    assert repeats(known) == frozenset()
    assert dispatches_once(known) == known.dispatches


def test_what_only_a_repeat_told_is_not_lost() -> None:
    """The status became a dispatched one by a setting, between the callback and its repeat."""
    known = Facts(receipts=(Receipt(at(1), "A"), Receipt(at(2), "A")), dispatches=(Dispatch(1, at(2), told_at=at(2)),))
    assert dispatches_once(known) == known.dispatches
