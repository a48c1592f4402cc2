"""A call makes the command that it names alone, and what it parses is what typer would have made of it."""

import pytest
from typer.main import get_command

from lineart.cli import GLOBAL, app
from lineart.commands.chosen import command_for

VALUES = (None, "", "v1", "copy", "7", "-1", ["a", "b"], [], (), True, 7, "\udcff")


def named(command, way=()):
    """Yield every command of an app with the words that lead to it."""
    yield way, command
    for name, below in getattr(command, "commands", {}).items():
        yield from named(below, (*way, name))


def outcome(parameter, context, value):
    try:
        found = parameter.process_value(context, value)
    except Exception as error:
        return type(error), str(error)
    return type(found), found


@pytest.mark.parametrize("way", [way for way, _ in named(get_command(app))], ids="-".join)
def test_every_value_becomes_what_typer_makes_of_it(way):
    plain, spared = dict(named(get_command(app)))[way], dict(named(command_for(app, way, GLOBAL)))[way]
    contexts = [one.context_class(one, info_name="art") for one in (plain, spared)]
    pairs = list(zip(*(one.get_params(its) for one, its in zip((plain, spared), contexts, strict=True)), strict=True))
    assert [(one.name, other.name) for one, other in pairs] == [(one.name, one.name) for one, _ in pairs]
    for one, other in pairs:
        for value in VALUES if one.callback is None else (None, False):
            assert outcome(one, contexts[0], value) == outcome(other, contexts[1], value), (one.name, value)


@pytest.mark.parametrize(
    ("arguments", "made"),
    [
        (["ls"], ["ls"]),
        (["--project", "log", "ls", "show"], ["ls"]),
        (["--project=log", "--", "ls"], ["ls"]),
        (["alias", "rm"], ["alias"]),
        (["put", "x", "y"], ["put"]),
    ],
)
def test_only_the_command_that_is_named_is_made(arguments, made):
    assert list(command_for(app, arguments, GLOBAL).commands) == made


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["lss"], ["--store", "ls"], ["--version"]])
def test_where_none_is_named_all_are_made(arguments):
    assert list(command_for(app, arguments, GLOBAL).commands) == list(get_command(app).commands)


def test_a_call_leaves_the_app_as_it_was():
    before = list(app.registered_commands), list(app.registered_groups)
    command_for(app, ["ls"], GLOBAL)
    assert (app.registered_commands, app.registered_groups) == before
