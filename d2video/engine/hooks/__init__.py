"""What a training does beside its steps."""
