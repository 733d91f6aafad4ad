"""Models as graphs that run without this package: ONNX, and programs of ``torch.export``."""

from __future__ import annotations

from a2m2_zoo.zoo.export.folder import Exported, export_model
from a2m2_zoo.zoo.export.graphs import METHODS

__all__ = ["METHODS", "Exported", "export_model"]
