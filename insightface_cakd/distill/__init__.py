"""What happens inside one training step."""
