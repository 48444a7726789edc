"""IJB-B and IJB-C: verification and identification of templates.

The conventions are those of upstream's three scripts.
"""
