"""IJB-B and IJB-C: verification and identification of templates, in the conventions of upstream's three scripts."""
