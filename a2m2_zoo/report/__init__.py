"""Pictures of what was measured and why an answer was given."""
