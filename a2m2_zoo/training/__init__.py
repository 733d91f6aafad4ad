"""Episodic training of any method, from cached features or from videos."""

from __future__ import annotations

from a2m2_zoo.training.config import TrainingConfig
from a2m2_zoo.training.loop import Trained, train
from a2m2_zoo.training.source import EpisodeSource, FeatureSource
from a2m2_zoo.training.validation import Validation

__all__ = ["EpisodeSource", "FeatureSource", "Trained", "TrainingConfig", "Validation", "train"]
