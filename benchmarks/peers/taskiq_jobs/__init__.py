"""The same work as jobs of taskiq, one item each, on Redis streams.

A package of its own environment: it is imported with `benchmarks/peers` in the path, without the harness.
"""
