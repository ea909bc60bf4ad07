"""What each call of orderflow does, in words that a person reads before a decision and in `orders explain`."""

from statemachine.commands import CommandKind
from statemachine.facts import DecisionKind, Facts
from statemachine.readings import answers_of_lines
from statemachine.trackings import best_tracking


def what_it_does(kind: CommandKind, carries: str, facts: Facts) -> str:
    """What this call of the order brings about. `carries`: see CommandKey.carries."""
    match kind:
        case CommandKind.ACCEPT:
            return f"OR21 {_answer(carries, facts)}"
        case CommandKind.IMPORT:
            return "POST /order brings the order to the OMS"
        case CommandKind.TRACK:
            best = best_tracking(facts)
            return f"OR23 gives Mirakl the tracking {best.carrier} {best.number}".rstrip()
        case CommandKind.CONFIRM:
            return "OR24 tells Mirakl that the order is shipped"


def _answer(carries: str, facts: Facts) -> str:
    if carries in (DecisionKind.ACCEPT, DecisionKind.REFUSE):
        return "accepts every line" if carries == DecisionKind.ACCEPT else "refuses every line"
    answers = answers_of_lines(carries, facts.snapshot.lines if facts.snapshot else ())
    accepted, refused = ([line for line, yes in answers.items() if yes is wanted] for wanted in (True, False))
    return f"accepts {', '.join(accepted)} and refuses {', '.join(refused)}"
