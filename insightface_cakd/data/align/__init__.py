"""Turns raw photos into aligned faces: detection, choice, five-point alignment, and a report."""
