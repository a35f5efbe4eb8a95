"""docs/operations.md names commands of `weft` that exist, with options that they have."""

import re
import shlex

import pytest
import typer
from tests.prometheus import ROOT

from cli.main import create_app

RUNBOOK = (ROOT / "docs" / "operations.md").read_text()
COMMANDS = sorted(
    {*re.findall(r"^ +(?:\$ )?weft (.+)$", RUNBOOK, re.MULTILINE), *re.findall(r"`weft\s([^`]+)`", RUNBOOK)}
)


def find(words):
    """Return the command that words name, and what is given to it."""
    command = typer.main.get_command(create_app())
    while words and (commands := getattr(command, "commands", None)):
        name, *words = words
        assert name in commands, f"weft has no command {name}"
        command = commands[name]
    return command, words


def test_the_runbook_has_many():
    assert len(COMMANDS) > 15


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_and_its_options_exist(line):
    command, given = find(shlex.split(line))
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in given if word.startswith("-")} - options == set()
