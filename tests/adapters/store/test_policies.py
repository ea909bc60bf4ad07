"""Policies: which version counts, and what two versions of the code do with each other's."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from adapters.store import policies as policy_rows
from adapters.store import schema as s
from adapters.store import shops as shop_rows
from adapters.store.policies import StoredPolicies
from adapters.store.transaction import Store
from statemachine.commands import Policy
from tests.adapters.store.support import NOW

POLICY = Policy("known-skus", frozenset({"MUG", "TEE"}), not_before=NOW, messages_wait=timedelta(minutes=5))


@pytest.fixture
def with_shop(store: Store) -> Store:
    with store.transaction() as tx:
        shop_rows.bind(tx, "alpha", "https://mirakl.example", 1, effects=True, now=NOW)
    return store


def start(store: Store, policy: Policy) -> None:
    """A process with this policy starts."""
    with store.transaction() as tx:
        policy_rows.store(tx, {"alpha": policy}, NOW)


def read(store: Store, own: Policy = Policy("hold")) -> Policy:
    """The policy by which a process plans whose own settings say `own`."""
    with store.reading() as connection:
        return StoredPolicies({"alpha": own}).read(connection, ["alpha"])["alpha"]


def change(store: Store, **values: object) -> None:
    with store.writing() as connection:
        connection.execute(sa.update(s.policies).values(**values))


def test_until_a_policy_is_stored_that_of_the_process_counts(with_shop: Store) -> None:
    assert read(with_shop, POLICY) == POLICY
    start(with_shop, Policy())
    assert read(with_shop, POLICY) == Policy(version=1)


def test_a_policy_is_read_as_it_was_stored_and_a_change_is_a_new_version(with_shop: Store) -> None:
    for policy, version in ((POLICY, 1), (POLICY, 1), (Policy("all"), 2), (POLICY, 3)):
        start(with_shop, policy)
        assert read(with_shop) == replace(policy, version=version)


def test_a_process_reads_a_new_version_in_its_next_transaction(with_shop: Store) -> None:
    start(with_shop, POLICY)
    policies = StoredPolicies({"alpha": Policy(), "beta": Policy("hold")})
    for policy in (POLICY, Policy("all")):
        start(with_shop, policy)
        with with_shop.transaction() as tx:
            found = policies.read(tx, ["alpha", "beta"])
        assert replace(found["alpha"], version=0) == policy
        assert (policies["alpha"], policies["beta"]) == (found["alpha"], Policy("hold"))


def test_code_with_the_same_settings_leaves_the_policy_of_newer_code(with_shop: Store) -> None:
    """It does not know the setting `gifts`. What it plans counts as planned by none: newer code plans it again."""
    start(with_shop, POLICY)
    with with_shop.reading() as connection:
        content = json.loads(connection.execute(sa.select(s.policies.c.content)).scalar_one())
    change(with_shop, code="9999", content=json.dumps(content | {"gifts": "hold"}))
    start(with_shop, POLICY)
    assert read(with_shop) == POLICY


def test_newer_code_stores_an_equal_policy_again(with_shop: Store) -> None:
    """So every open order is planned by its rules."""
    start(with_shop, POLICY)
    change(with_shop, code="0001")
    start(with_shop, POLICY)
    assert read(with_shop) == replace(POLICY, version=2)
