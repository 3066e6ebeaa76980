"""Prefect tasks: one external effect each, then one short save."""
