"""The folder that goes on `sys.path`; the package is in it."""
