"""How urgent each alert is, and how long its condition holds before it fires: a change of one is a change for those who
are called. Each limit has its test in k8s/monitoring/tests-limits.yaml and tests-week.yaml."""

from typing import Final

from tests.k8s.test_alerts import RULES, TESTS

#: By severity and `for`; "": it fires at once.
EXPECTED: Final = {
    "critical": {
        "": "OrdersSLOFastBurn OrdersInvariantBroken OrdersDeadLetterBurst",
        "1m": "OrdersProgressStopped OrdersTopicStopped OrdersTwoLeaders OrdersLoopStopped",
        "2m": "OrdersPollStale OrdersLoopFailing",
        "3m": "OrdersRoleMissing OrdersNoLeader",
        "5m": "OrdersAcceptanceDeadlineNear OrdersOverdue OrdersNoConsumer OrdersEventBacklogOld "
        "OrdersCommandsBacklogOld OrdersNeedAttentionNow OrdersApiAuthFailing",
        "10m": "OrdersPollerAbsent",
    },
    "warning": {
        "": "OrdersSLOSlowBurn OrdersTransitionsRejected OrdersLogLinesLost OrdersErrorsLogged",
        "5m": "OrdersPollersBusy OrdersNeedAttention OrdersDeadLettersOpen OrdersOutboxOld OrdersCallbacksRefused "
        "OrdersGaugesStale",
        "10m": "OrdersStuckInState OrdersApiErrorRatioHigh OrdersAccountResting",
        "15m": "OrdersConsumerLagGrowing",
        "30m": "OrdersCatalogUnread OrdersNoNewOrders OrdersApiThrottled",
        "1h": "OrdersUnconfigured",
        "4h": "OrdersEffectsOff",
    },
    "info": {"1h": "OrdersVersionSkew"},
}


def test_the_severity_and_the_time_of_each_alert_are_those_of_the_table() -> None:
    found = {name: (rule["labels"]["severity"], rule.get("for", "")) for name, rule in RULES.items()}
    assert found == {
        name: (severity, time)
        for severity, by_time in EXPECTED.items()
        for time, names in by_time.items()
        for name in names.split()
    }
    assert {name: rule["keep_firing_for"] for name, rule in RULES.items() if "keep_firing_for" in rule} == {
        "OrdersSLOFastBurn": "10m"
    }


def test_each_limit_has_a_test_on_both_of_its_sides() -> None:
    """At every limit nothing fires, and just above it its alert does."""
    at, *above = TESTS["tests-limits.yaml"]["tests"]
    series = {one["series"] for one in at["input_series"]}
    assert at["promql_expr_test"][0]["exp_samples"] == []
    for test in above:
        if "rates" not in test["name"]:  # the shops of one test of burn rates are below and above them
            assert {one["series"] for one in test["input_series"]} <= series, test["name"]
