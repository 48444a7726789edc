"""Measures of anti-spoofing."""
