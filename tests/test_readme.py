"""The README's promises: two lines on a fresh machine, the table of commands, an honest status."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import typer

import lineart
from lineart.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def install_lines():
    return re.findall(r"^```sh\n(.*?)\n```$", README, re.MULTILINE | re.DOTALL)


def commands(group, path=()):
    for name, command in group.commands.items():
        if not command.hidden:
            is_group = hasattr(command, "commands")
            if not is_group or command.invoke_without_command:  # a group may do something by itself
                yield " ".join((*path, name))
            if is_group:
                yield from commands(command, (*path, name))


def test_two_lines_do_everything_each_in_an_environment_of_its_own():
    lines = install_lines()
    assert len(lines) == 2
    assert all("\n" not in line for line in lines)
    environments = [re.match(r"python3 -m venv (?:--upgrade-deps )?(\S+) && ", line)[1] for line in lines]
    assert len(set(environments)) == 2
    for line, environment in zip(lines, environments, strict=True):
        for part in line.split(" && ")[1:]:
            assert part.startswith(f"{environment}/bin/")


def test_what_the_two_lines_name_is_there():
    demo, tests = install_lines()
    assert demo.endswith("/art demo")
    assert "art" in PROJECT["project"]["scripts"]
    assert "demo" in set(commands(typer.main.get_command(app)))
    extras = re.search(r"'\.\[(\w+)\]'", tests)[1]
    assert extras in PROJECT["project"]["optional-dependencies"]
    assert tests.endswith("/pytest")
    assert PROJECT["tool"]["pytest"]["ini_options"]["testpaths"] == ["tests"]


def test_the_table_of_commands_is_complete():
    listed = {re.sub(r" [A-Z[].*", "", one) for one in re.findall(r"^\| `art ([^`]*)`", README, re.MULTILINE)}
    assert listed == set(commands(typer.main.get_command(app)))


def test_version_python_and_format_are_those_of_the_package():
    assert f"Version {lineart.__version__}" in README
    assert PROJECT["project"]["version"] == lineart.__version__
    assert f"## {lineart.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    least = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert f"Python {least} or later" in README


def test_it_says_what_it_is_in_a_few_lines():
    start = README.index("\n## ")
    assert len(README[:start].splitlines()) <= 20
