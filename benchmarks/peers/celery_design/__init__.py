"""The design of the document: Celery and Redis, a task for each stage of a process, a beat that spawns them again.

A package of its own environment: it is imported with `benchmarks/peers` in the path, without the harness.
"""
