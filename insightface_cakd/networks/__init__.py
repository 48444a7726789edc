"""Network files, what they compute and what they cost."""
