"""Jobs of the embedded host: files like arcface_torch's, that set `config`."""
