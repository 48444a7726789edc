"""What a run's networks look at, as a picture."""
