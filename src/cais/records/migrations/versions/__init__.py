"""One module a step; its number says the order to people, ``down_revision`` to Alembic."""
