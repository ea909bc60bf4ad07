"""Which contents Mirakl shows otherwise than the OMS has them, or may have them."""

from collections.abc import Collection
from dataclasses import dataclass

from statemachine.facts import Facts, Handover
from statemachine.questions.by_field import digest_named, fields_in, left_out_of, settled_on, shows_change
from statemachine.questions.compared import compared
from statemachine.questions.formulas import formula_of
from statemachine.questions.other_values import values_between, was_another
from statemachine.questions.payloads import what_oms_got
from statemachine.questions.settled import settled_contents


@dataclass(frozen=True, slots=True)
class ChangedContent:
    """A content (`Handover.contents`) of which Mirakl shows another value than the OMS has or may have."""

    has: str  # the digest of what the OMS has: of what it got, or of what a person settled since
    named: str  # how the reason names the digest of what Mirakl shows (by_field.py)
    #: Mirakl shows again what the OMS has; reads between showed another value. False also if that is not known, because
    #: the two digests are of different formulas.
    is_back: bool


def changed_contents(facts: Facts, left_out: Collection[str]) -> dict[str, ChangedContent]:
    """The contents of which the read that is compared shows another value than the OMS has or may have, by their names.
    A person who settles a change has corrected it in the OMS.

    If reads since showed another value that no person settled, the OMS may have that one, so the content is named too.

    `left_out`: codes of custom fields that the shop's imports leave out now. They count for an import of which it is
    not known what it left out.
    """
    shown = compared(facts)
    now = dict(shown.contents if shown else ())
    found: dict[str, ChangedContent] = {}
    for got in what_oms_got(facts):
        has, without = _contents_in_oms(facts, got), left_out_of(got, left_out)
        names = {name for name, digest in now.items() if shows_change(has.get(name, digest), digest, without)}
        again = {one.name for one in values_between(facts)} & has.keys() & now.keys() - found.keys() - names
        back = {name for name in again if was_another(facts, name, has[name], now[name], got, left_out=without)}
        for name in sorted(names | back):
            digest = digest_named(has[name], now[name], without)
            digest = settled_on(found[name].named, digest) if name in found else digest
            is_back = name in back and formula_of(has[name]) == formula_of(now[name])
            found[name] = ChangedContent(has[name], digest, is_back=is_back)
    return found


def _contents_in_oms(facts: Facts, got: Handover) -> dict[str, str]:
    """The digests of what the OMS got, or of what a person settled since."""
    has = dict(got.contents)
    for name, digest in settled_contents(facts, got.at).items():
        if name in has or fields_in(digest) is None:  # else the settle names some of the fields alone
            has[name] = settled_on(has.get(name, ""), digest)
    return has
