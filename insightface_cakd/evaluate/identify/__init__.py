"""Identification among distractors."""
