"""Features kept on disk: every clip goes through the backbone once, all methods run from there."""

from __future__ import annotations

from a2m2_zoo.features.cache import FeatureCache, default_cache
from a2m2_zoo.features.encoding import encode_clips
from a2m2_zoo.features.shards import DamagedShardWarning
from a2m2_zoo.features.through import read_through

__all__ = ["DamagedShardWarning", "FeatureCache", "default_cache", "encode_clips", "read_through"]
