"""Lineart: a content-addressed artifact and lineage store for machine learning."""

__version__ = "0.1.0"
