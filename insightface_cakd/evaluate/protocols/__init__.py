"""One protocol per file: `cakd eval NAME` runs the one in NAME.py.

The command line imports all of them, so they import torch in `measure` only.
"""
