"""Prometheus with our rules sees alerts of a running service fire, and resolve when the cause is cured.

Durations are divided by 60. All other alerts are tested by promtool (tests/k8s/test_alerts.py).
"""

import os
from pathlib import Path
from typing import Final

import pytest

from consumer.config import TopicsTable
from tests.watch.prometheus import Prometheus, is_installed, rules, scaled, seconds_of, until
from tests.watch.scene import Scene, call_back_garbage

FACTOR: Final = 60
#: They fire while both marketplaces fail, people do not come, and a partition does not fit its offsets.
FIRST: Final = frozenset(
    {
        "OrdersPollStale",
        "OrdersApiAuthFailing",
        "OrdersDeadLettersOpen",
        "OrdersNeedAttention",
        "OrdersCommandsBacklogOld",
        "OrdersProgressStopped",
        "OrdersAcceptanceDeadlineNear",
    }
)
SNAPSHOTS: Final = TopicsTable().snapshots


def test_durations_are_divided() -> None:
    rule = {"expr": "time() - x > 4 * 3600 and increase(y[10m]) > 0 and (z < 300)", "for": "5m", "alert": "A"}
    assert scaled(rule, 60) == {
        "expr": "time() - x > (4 * 3600 / 60) and increase(y[10s]) > (0 / 60) and (z < (300 / 60))",
        "for": "5s",
        "alert": "A",
    }
    assert seconds_of("1w") == 604_800
    alerts = [rule for group in rules(FACTOR)["groups"] for rule in group["rules"] if "alert" in rule]
    assert len(alerts) > 30
    assert all(seconds_of(rule["for"]) <= 240 for rule in alerts if "for" in rule)


@pytest.mark.minutes
def test_alerts_of_a_running_service_fire_and_resolve(tmp_path: Path) -> None:
    if not is_installed():
        if os.environ.get("CI"):
            pytest.fail("CI has to have prometheus, Debian's package")
        pytest.skip("needs prometheus, Debian's package")
    # Mirakl refuses what was not accepted within 200 s, so the scaled limit of 240 s is always near.
    with Scene.play(tmp_path / "demo", accept_within_hours=str(200 / 3600)) as scene:
        prometheus = Prometheus.start(tmp_path / "prometheus", {"demo-0": scene.port}, factor=FACTOR)
        try:
            until(lambda: bool(prometheus.query("orderflow_build_info")), 60, "the service is scraped")
            scene.fail("alpha", "OR21", "503")
            for number in range(8):
                scene.add("alpha", f"{number}-A")
            scene.add("beta", "9-B", known=False)
            seen = 'orderflow_in_state{state="waiting_acceptance"} > 0'
            until(lambda: len(prometheus.query(seen)) == 2, 60, "both shops' orders are seen")
            harm(scene)
            fired: set[str] = set()

            def all_fired() -> bool:
                fired.update(prometheus.firing())
                return fired >= FIRST

            until(all_fired, 240, f"these fire: {FIRST}")
            cure(scene)
            until(lambda: not prometheus.firing() & FIRST, 300, "all of these resolve")

            # A loop counts as failing after a minute, whatever the rules say.
            scene.sql("ALTER TABLE policies RENAME TO gone")
            until(lambda: "OrdersLoopFailing" in prometheus.firing(), 180, "OrdersLoopFailing fires")
            scene.sql("ALTER TABLE gone RENAME TO policies")
            until(lambda: "OrdersLoopFailing" not in prometheus.firing(), 120, "OrdersLoopFailing resolves")
        finally:
            prometheus.stop()


def harm(scene: Scene) -> None:
    scene.fail("alpha", "OR11", "503")
    scene.fail("beta", "OR11", "answer", status=401)
    call_back_garbage(scene.port, "alpha")
    scene.sql("UPDATE log_records SET offset = offset + 1000 WHERE topic = ?", SNAPSHOTS)


def cure(scene: Scene) -> None:
    scene.heal_remotes()
    scene.sql("UPDATE dead_letters SET state = 'discarded'")
    scene.sql("UPDATE progress SET position = position + 1000 WHERE topic = ?", SNAPSHOTS)
    scene.world.mirakl["beta"].accept_in_portal("9-B")
