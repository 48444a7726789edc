"""`cakd compare`: recipes on equal terms, in one table."""
