"""Play the sicknesses, and print a table: what was sick, for how long, what was seen, and whether a person could act.

    make sick      make sick ARGS="--list"      make sick ARGS="--only mirakl-hangs --only database-frozen"

The exit status is 1 if a check fails: orders of others wait, a probe does not answer, nothing names the cause, or the
audit finds an order lost or an effect doubled.
"""

import argparse
import json
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.sick.run import USUAL_SECONDS, Result, judge_times, play, usual
from tests.sick.service import Service, new_folder
from tests.sick.sickness import Sickness
from tests.sick.table import ALL, BY_NAME

#: The width of the table in a file or a pipe.
FILE_WIDTH = 240
#: How long orders flow between two sicknesses in the short form.
QUICK_SECONDS = 2.0


def play_all(sicknesses: Sequence[Sickness], folder: Path, console: Console, *, quick: bool = False) -> list[Result]:
    """Start the service, and play one sickness after the other.

    Before and after each, orders flow while nothing is sick. This shows what is usual, and that the service is in
    health again. `quick`: only for a moment.
    """
    began = time.monotonic()

    def step(text: str) -> None:
        console.print(f"{time.monotonic() - began:5.0f} s  {text}", soft_wrap=True, markup=False)

    service = Service.start(folder, step, brokers=max(one.brokers for one in sicknesses))
    results = []
    try:
        usual(service, 4)  # the processes are still starting: what they take now is not usual
        now_usual = usual(service)
        for number, one in enumerate(sicknesses, 1):
            told: list[str] = []  # a loop that fails again within 30 s is not told again
            for again in (False, True):
                step(
                    f"{number} of {len(sicknesses)}: {one.name}. Usual: an order {now_usual.order_seconds:.1f} s, "
                    f"an answer {now_usual.answer_seconds * 1000:.0f} ms"
                )
                result = play(service, one, now_usual, step)
                is_last = number == len(sicknesses)
                now_usual = usual(service, USUAL_SECONDS if is_last or not quick else QUICK_SECONDS)
                judge_times(result, now_usual)
                result.wrong = [text for text in result.wrong if text.removeprefix("not seen: ") not in told]
                told = result.signs
                step("passed" if result.passed else "FAILED: " + "; ".join([*result.wrong, *result.late][:10]))
                if again or result.wrong or not result.late:
                    break
                step("only times were too long, which another program may have caused: once more")
            results.append(result)
    finally:
        service.stop()
    return results


def as_table(results: Sequence[Result]) -> Table:
    """One line for each sickness. What was wrong is not in it: `failures` has it."""
    titles = (
        "sickness",
        "who was sick",
        "others' orders",
        "answers",
        "seen, so that a person can act",
        "well",
        "result",
    )
    table = Table(*titles, box=box.SIMPLE, pad_edge=False)
    for one in results:
        others = f"{one.others_seconds:.1f} s, usual {one.usual.order_seconds:.1f}" if one.others else "all may wait"
        seen = "; ".join([*one.signs, *(f"/ready 503: {wrong}" for wrong in one.not_ready)])
        table.add_row(
            one.sickness.name,
            f"{one.sickness.part}, {one.sick_seconds:.0f} s",
            others,
            f"{one.answer_seconds * 1000:.0f} ms, usual {one.usual.answer_seconds * 1000:.0f}",
            escape(seen or "nothing, and nothing is asked"),
            f"{one.settled_seconds:.0f} s",
            "passed" if one.passed else "FAILED",
        )
    return table


def failures(results: Sequence[Result]) -> list[str]:
    return [f"{one.sickness.name}: {text}" for one in results for text in (*one.wrong, *one.late)]


def as_json(results: Sequence[Result]) -> list[dict[str, Any]]:
    return [
        {
            "name": one.sickness.name,
            "part": one.sickness.part,
            "row": one.sickness.row,
            "sick_seconds": round(one.sick_seconds, 1),
            "usual_order_seconds": round(one.usual.order_seconds, 2),
            "others": one.others,
            "others_seconds": round(one.others_seconds, 2),
            "answer_seconds": round(one.answer_seconds, 3),
            "settled_seconds": round(one.settled_seconds, 1),
            "memory": {name: asdict(found) for name, found in one.memory.items()},
            "not_ready": list(one.not_ready),
            "signs": one.signs,
            "passed": one.passed,
            "wrong": [*one.wrong, *one.late],
        }
        for one in results
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make sick", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="only this sickness; may be repeated")
    parser.add_argument("--list", action="store_true", help="print the sicknesses, and end")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs also if all is well")
    parser.add_argument("--seconds", type=float, metavar="N", help="let each sickness last so long")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.only or () if name not in BY_NAME]
    if unknown:
        parser.error(f"no such sickness: {', '.join(unknown)}; --list shows them")
    chosen = [one for one in ALL if not given.only or one.name in given.only]
    if given.seconds:  # what waited for longer takes longer afterwards
        chosen = [
            replace(one, seconds=given.seconds, recovery_seconds=one.recovery_seconds + given.seconds / 2)
            for one in chosen
        ]
    notes = Console(stderr=True)
    for one in chosen:
        if one.cannot_play:
            notes.print(f"Not played: {one.name}: {one.cannot_play}", soft_wrap=True, markup=False)
    playable = [one for one in chosen if not one.cannot_play]
    if not playable:
        return 1
    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    if given.list:
        for one in chosen:
            console.print(f"{one.name}: {one.part}. {one.row}.", soft_wrap=True, markup=False)
        return 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(130))  # on its way out it stops all that it started
    folder = new_folder()
    results = play_all(playable, folder, notes)
    passed = all(one.passed for one in results)
    if given.json:
        sys.stdout.write(json.dumps(as_json(results), indent=2) + "\n")
    else:
        console.print(as_table(results))
        for text in failures(results):
            console.print(text, markup=False, soft_wrap=True)
    if passed and not given.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        notes.print(f"Settings and logs: {folder}", soft_wrap=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
