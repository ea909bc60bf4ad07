"""The dashboard's queries, and a picture of its panels that is drawn from what Prometheus answers."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.watch.prometheus import NAMESPACE, Prometheus

BOARD: Final = Path(__file__).resolve().parents[2] / "k8s/monitoring/dashboards/orderflow.json"
VARIABLES: Final = {"$namespace": NAMESPACE, "$shop": ".+", "$__rate_interval": "15s"}
#: A panel of the picture shows at most this many lines, the largest ones.
MOST_LINES: Final = 8


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel, with the dashboard's variables filled in."""

    panel: str
    unit: str
    expr: str
    legend: str


def queries() -> list[Query]:
    found = []
    for panel in json.loads(BOARD.read_text())["panels"]:
        for target in panel["targets"]:
            expr = target["expr"]
            for name, value in VARIABLES.items():
                expr = expr.replace(name, value)
            unit = panel["fieldConfig"]["defaults"]["unit"]
            found.append(Query(panel["title"], unit, expr, target["legendFormat"]))
    return found


def answers(prometheus: Prometheus, *, start: float, end: float) -> dict[Query, list[Any]]:
    """The series of each query, over the whole demo."""
    step = max((end - start) / 200, 1)
    return {one: prometheus.over_time(one.expr, start=start, end=end, step=step) for one in queries()}


def draw(found: dict[Query, list[Any]], start: float, path: Path) -> None:
    """Draw each panel with its series. Needs matplotlib, which is no dependency of the project."""
    from matplotlib import pyplot  # type: ignore[import-not-found,unused-ignore]

    panels = list(dict.fromkeys(one.panel for one in found))
    rows = -(-len(panels) // 3)
    figure, axes = pyplot.subplots(rows, 3, figsize=(15, 2.6 * rows), layout="constrained")
    for axis, panel in zip(axes.flat, panels, strict=False):
        lines = [(one, series) for one, many in found.items() if one.panel == panel for series in many]
        lines.sort(key=lambda line: -max(float(value) for _, value in line[1]["values"]))
        for query, series in lines[:MOST_LINES]:
            legend = query.legend
            for label, value in series["metric"].items():
                legend = legend.replace("{{" + label + "}}", value)
            points = [(at - start, float(value)) for at, value in series["values"]]
            axis.plot(*zip(*points, strict=True), linewidth=1, label=legend)
        unit = next(one.unit for one in found if one.panel == panel)
        axis.set_title(f"{panel} ({unit})" if unit != "short" else panel, fontsize=8, loc="left")
        axis.tick_params(labelsize=6)
        axis.grid(alpha=0.3)
        if lines:
            axis.legend(fontsize=5, loc="upper left", ncols=2, framealpha=0.5)
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_visible(False)
    figure.savefig(path, dpi=90)
