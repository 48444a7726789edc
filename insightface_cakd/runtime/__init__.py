"""Services of a process: ranks, devices, atomic files, progress, run folders."""
