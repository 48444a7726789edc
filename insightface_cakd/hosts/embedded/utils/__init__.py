"""Config, logging, callbacks and seeding, under arcface_torch's file names."""
