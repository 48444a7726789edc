"""The cost of a step from counts, on tensors without data."""
