"""`python -m lineart` is `art`."""

from __future__ import annotations

from .cli import main

main()
