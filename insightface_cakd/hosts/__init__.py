"""Hosts: the training code that a recipe enters.

`embedded` is a training loop that comes with the package and needs no checkout of arcface_torch. The other modules
find, check, fix, run and patch a user's own arcface_torch folder.
"""
