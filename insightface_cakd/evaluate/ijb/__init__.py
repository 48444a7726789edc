"""IJB-B and IJB-C: verification and identification of templates."""
