"""Jobs of the embedded host."""
