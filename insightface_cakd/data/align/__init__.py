"""Turns raw photos into aligned faces.

The steps are detection, choice of the face, five-point alignment, and a report of what was left out.
"""
