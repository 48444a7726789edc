"""Comparison of several models on the same pairs, with a paired test."""
