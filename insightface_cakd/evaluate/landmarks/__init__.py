"""Accuracy of landmarks: errors by a named normaliser, and pictures."""
