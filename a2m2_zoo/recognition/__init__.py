"""A model that knows its supports: models, banks of supports, the recogniser, what goes in and comes out."""
