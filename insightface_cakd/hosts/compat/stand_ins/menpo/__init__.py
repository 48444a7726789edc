"""The folder that goes on `sys.path`; see the package in it."""
