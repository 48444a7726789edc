"""`cakd quickstart`: a small job of each task, from data to report."""
