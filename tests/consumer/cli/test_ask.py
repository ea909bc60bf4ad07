"""A person who stops a command at its question, and a script that has no answer to it."""

import sys

import pytest
import typer

from consumer.cli import output


def stopped_by(error: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    def prompt(_: str) -> str:
        raise error

    monkeypatch.setattr(sys.modules[typer.confirm.__module__], "visible_prompt_func", prompt)
    with pytest.raises(typer.Abort):
        output.ask("hold alpha O-1?", yes=False)


def test_ctrl_c_says_that_nothing_was_done(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It does not recommend --yes to a person who wants to stop."""
    stopped_by(KeyboardInterrupt, monkeypatch)
    assert capsys.readouterr().err.endswith("\norderflow: nothing was done\n")


def test_an_input_that_ended_names_yes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stopped_by(EOFError, monkeypatch)
    says = "\norderflow: there was no answer, so nothing was done; with --yes nothing is asked\n"
    assert capsys.readouterr().err.endswith(says)
