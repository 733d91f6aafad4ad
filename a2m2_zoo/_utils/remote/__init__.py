"""Addresses where paths may stand: ``s3://``, ``gs://``, ``hf://``, ``https://``, through fsspec."""
