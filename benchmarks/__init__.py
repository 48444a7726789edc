"""Benchmarks for developers.

The cost of a user's own recipe is measured by `cakd bench`.
"""
