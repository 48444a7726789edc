"""Verification of pairs: the sets, the protocol, intervals and tests."""
