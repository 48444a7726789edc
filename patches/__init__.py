"""Git patches for a checkout of arcface_torch."""
