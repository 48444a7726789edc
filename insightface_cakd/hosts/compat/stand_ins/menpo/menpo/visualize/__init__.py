"""The colours of a plot."""
