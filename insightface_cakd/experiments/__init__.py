"""`cakd compare`: recipes trained on equal terms, in one table."""
