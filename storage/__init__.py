"""Bytes in, verified bytes out; knows nothing of artifacts."""
