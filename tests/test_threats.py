"""The page of threats names a test for each promise, and the tests it names are there."""

import re
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "threats.md"


def test_each_promise_names_the_test_that_proves_it():
    promised, _, _ = PAGE.read_text(encoding="utf-8").partition("## What it does not promise")
    for part in re.split(r"\n(?=- |\n)", promised.partition("\n\n**")[2]):
        if part.startswith("- "):
            assert "](../../tests/" in part, part
    named = set(re.findall(r"\]\((\.\./\.\./tests/[\w/.]+)\)", promised))
    assert len(named) > 15
    for one in named:
        text = (PAGE.parent / one).read_text(encoding="utf-8")
        assert "def test_" in text, one
