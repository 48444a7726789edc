"""Verification of pairs: sets, protocol, intervals and tests."""
