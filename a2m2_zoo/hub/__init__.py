"""Names to verified local files: the manifest, the checkpoint format. Knows no model class."""

#: What ``load_model`` and the command line take where no model is named.
DEFAULT_MODEL = "a2m2-lite0"
