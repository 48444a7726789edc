"""Yardsticks of the developers; what a user's own recipe costs is told by `cakd bench`."""
