"""Data: the five benchmarks as facts, folders and lists, episode plans, features, and a generator."""
