"""Measuring a model on verification sets, IJB and identification data."""
