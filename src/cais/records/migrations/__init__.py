"""The published steps of the servers' schema, and what Alembic runs them with.

A step is never changed once it is published: what comes later is a new step, whose ``down_revision`` is the newest one.
"""
