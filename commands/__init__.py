"""The commands of `art`, by what they are for: `cli.py` puts them together.

Each module parses, calls and prints; what takes more than that has a module of its own beside it.
"""
