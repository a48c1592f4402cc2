"""Signatures over versions and the runs that made them."""
