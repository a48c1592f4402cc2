"""The public face is pinned: a name that comes or goes is a decision."""

import subprocess
import sys

import lineart


def test_the_public_names_are_these():
    assert sorted(lineart.__all__) == [
        "Artifact",
        "Ref",
        "Run",
        "Store",
        "create",
        "finish",
        "init",
        "log_artifact",
        "open",
        "use_artifact",
    ]


def test_every_public_name_is_there_and_documented():
    for name in lineart.__all__:
        assert getattr(lineart, name).__doc__, name


def test_importing_the_package_loads_nothing_heavy():
    heavy = ("sqlalchemy", "sqlmodel", "networkx", "fsspec", "typer", "rich", "msgspec", "alembic", "asyncio")
    code = f"import sys, lineart; print(*(name for name in {heavy} if name in sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(lineart, "nothing_like_this")
