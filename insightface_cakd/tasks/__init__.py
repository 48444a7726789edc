"""Tasks, and how a run starts: jobs, launch and the seam."""
