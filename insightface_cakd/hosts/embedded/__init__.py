"""A training loop with arcface_torch's file names, signatures and results, on any device, in one process or many."""
