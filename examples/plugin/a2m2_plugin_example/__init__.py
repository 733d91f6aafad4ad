"""A few-shot method and a backbone for a2m2_zoo."""
