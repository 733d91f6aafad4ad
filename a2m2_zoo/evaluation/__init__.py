"""Protocols, statistics and receipts: what a model is worth, and how sure that is."""
