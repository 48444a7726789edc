"""menpo as far as arcface_torch uses it: the colours of a plot."""
