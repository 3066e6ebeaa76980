"""Faults on demand, decided in one place around the routes."""
