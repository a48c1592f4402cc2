"""Versions of trees: drafts, manifests, collections, transfer."""
