"""Names to verified local files: the manifest, the checkpoint format. Knows no model class."""
