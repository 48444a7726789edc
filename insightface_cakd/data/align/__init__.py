"""Turns raw photos into aligned faces, and reports what was left out."""
