"""The embedded host: training code that the seam can enter without a checkout of arcface_torch."""
