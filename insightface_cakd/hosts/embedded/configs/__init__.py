"""Jobs of the embedded host.

They are Python files that set `config`, as in arcface_torch.
"""
