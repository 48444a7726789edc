"""Turns raw photos into aligned faces."""
