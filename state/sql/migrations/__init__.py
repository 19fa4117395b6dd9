"""The revisions of the tables of a SQL state: one linear chain, which `state.sql.upgrade` follows.

A module here is a revision. It stands for itself and imports nothing of burst, since `state.sql.schema` goes on.
"""
