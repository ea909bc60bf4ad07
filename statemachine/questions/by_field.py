"""Digests of contents that are made field by field: those of the custom fields.

A shop's settings say which custom fields its imports leave out, and they may change while orders are open. So the
digest of a read holds every field, whatever the settings are, and an import keeps which fields it left out (`handed`).
A read is compared with an import in the fields that this import carried. So a change of the settings alone is no change
of the order, and what Mirakl changes of a field counts by the settings under which the order was imported.

Such a digest is the number of its formula, `_:`, and for each field eight digits of its code and eight of its value,
with `-` between the fields. Without the digits of a value the field has none.
"""

import json
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Final

from statemachine.facts import Handover
from statemachine.questions.formulas import differ, formula_of

_Contents = tuple[tuple[str, str], ...]
_BY_FIELD: Final = re.compile(r"([0-9]+_):(.*)")
#: Digits of a code, and of a value.
_DIGITS: Final = 8
#: Among the contents of an import: the digests of the codes of custom fields that it left out. It is absent if that is
#: not known: an earlier version, a person or somebody else made the import.
_LEFT_OUT: Final = "fields left out"


@lru_cache(4096)
def code_digest(code: str) -> str:
    return sha256(json.dumps(code).encode()).hexdigest()[:_DIGITS]


def code_digests(codes: Collection[str]) -> frozenset[str]:
    return frozenset(map(code_digest, codes))


def joined(fields: Mapping[str, str]) -> str:
    """The digest of these fields without the number of its formula. They are digests of values, by those of codes."""
    return ":" + "-".join(code + value for code, value in sorted(fields.items()))


def fields_in(digest: str) -> dict[str, str] | None:
    """The digests of values by those of codes. None: this digest is not made field by field."""
    found = _BY_FIELD.fullmatch(digest)
    return {one[:_DIGITS]: one[_DIGITS:] for one in found[2].split("-") if one} if found else None


def changed_fields(has: str, now: str, left_out: Collection[str]) -> dict[str, str]:
    """The fields, except those left out, of which the two digests show another value, with the value of `now`. Empty if
    one of the digests is not made field by field."""
    before, after = fields_in(has), fields_in(now)
    if before is None or after is None:
        return {}
    both = {code: after.get(code, "") for code in before | after if code not in left_out}
    return {code: value for code, value in both.items() if value != before.get(code, "")}


def shows_change(has: str, now: str, left_out: Collection[str]) -> bool:
    """Whether the digests show that two values of a content differ, without regard to the fields left out.

    `left_out`: digests of codes. Digests of different formulas show nothing.
    """
    if fields_in(has) is None or fields_in(now) is None:
        return differ(has, now)
    return formula_of(has) == formula_of(now) and bool(changed_fields(has, now, left_out))


def digest_named(has: str, now: str, left_out: Collection[str]) -> str:
    """How a reason names the digest of the content that changed, and so what a settle of it covers: the fields that
    changed. If they are not known, or none did: the whole digest."""
    changed = changed_fields(has, now, left_out) if formula_of(has) == formula_of(now) else {}
    return _with_fields(now, changed) if changed else now


def settled_on(has: str, settled: str) -> str:
    """What the OMS has after a settle that names the digest `settled`. Fields that it does not name are as before."""
    before, after = fields_in(has), fields_in(settled)
    if before is None or after is None or formula_of(has) != formula_of(settled):
        return settled
    return _with_fields(settled, before | after)


def _with_fields(digest: str, fields: Mapping[str, str]) -> str:
    """The digest in the same formula, with these fields."""
    return digest.partition(":")[0] + joined(fields)


def handed(contents: _Contents, left_out: Collection[str]) -> _Contents:
    """The contents of an import that is made of a read with these contents, and leaves these codes of custom fields
    out. Unchanged if the contents are not known."""
    if not contents:
        return contents
    return tuple(sorted((*contents, (_LEFT_OUT, "-".join(sorted(code_digests(left_out)))))))


def left_out_of(got: Handover, codes: Collection[str]) -> frozenset[str]:
    """The digests of the codes that this import left out. `codes`: what counts if that is not known: the codes that the
    shop leaves out now."""
    known = dict(got.contents).get(_LEFT_OUT)
    return code_digests(codes) if known is None else frozenset(filter(None, known.split("-")))


def carried(got: Handover, codes: Collection[str] = ()) -> _Contents:
    """The contents of an import without the fields that it left out. Two imports of equal contents carried the same.
    `codes`: as for `left_out_of`."""
    left_out = left_out_of(got, codes)
    return tuple((name, _without(digest, left_out)) for name, digest in got.contents if name != _LEFT_OUT)


def _without(digest: str, left_out: Collection[str]) -> str:
    fields = fields_in(digest)
    if fields is None:
        return digest
    return _with_fields(digest, {code: value for code, value in fields.items() if code not in left_out})
