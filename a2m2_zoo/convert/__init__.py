"""Checkpoints of the official research code, made into ours: safe unpickling, strict about every key."""
