"""Revisions of the database's schema, run by alembic; storage/schema.py names them in order."""
