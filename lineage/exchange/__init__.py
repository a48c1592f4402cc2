"""Lineage in the formats that others read and write: exports of graphs, and imports of runs."""
