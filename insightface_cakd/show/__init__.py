"""Pictures of where the networks of a run look."""
