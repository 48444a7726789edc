"""Several models on the same pairs: one table, one page, a paired test."""
