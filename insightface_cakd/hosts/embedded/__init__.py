"""A training loop compatible with arcface_torch, on any device.

File names, signatures and results are arcface_torch's; it runs in one process or many.
"""
