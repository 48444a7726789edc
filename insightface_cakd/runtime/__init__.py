"""What a process relies on: ranks, devices, whole-or-nothing files, progress."""
