"""Jobs of the embedded host: Python files that set `config`, as in arcface_torch."""
