"""What arcface_torch needs on today's stack: small named fixes, applied only in a process that runs host code."""
