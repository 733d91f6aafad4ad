"""The one door to open_clip, and with it to timm and torchvision."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from types import ModuleType
from typing import Any, cast

from a2m2_zoo.errors import DependencyError

_BROKEN = "operator torchvision::nms does not exist"

# The library that holds the two schemas; kept, for they vanish with it. Filled once, at need.
_declared: list[Any] = []


def import_open_clip() -> ModuleType:
    """Import open_clip, also where torchvision was built for another torch than the one installed.

    torchvision's wheels from the public index are built against CUDA. Beside a CPU build of torch
    their compiled part cannot be loaded, the two operators it would define stay unknown, and
    ``import torchvision`` stops with ``operator torchvision::nms does not exist``, and with it
    open_clip and timm, which need torchvision's Python part only. If, and only if, that very error
    comes, the two schemas are declared (without a kernel: calling them still fails) and the import
    is tried once more. Where torchvision is sound nothing is declared.

    Returns:
        The module ``open_clip``.

    Raises:
        DependencyError: If open_clip is not installed or cannot be imported.
    """
    try:
        return _quietly_import("open_clip")
    except RuntimeError as error:
        if _BROKEN not in str(error):
            raise DependencyError(_failed(error)) from error
    except ImportError as error:
        raise DependencyError(_failed(error)) from error
    _declare_operators()
    _forget_half_imported()
    try:
        return _quietly_import("open_clip")
    except (ImportError, RuntimeError) as error:
        raise DependencyError(_failed(error)) from error


def _failed(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == "open_clip":
        return "CLIP backbones need open_clip, which is not installed: pip install open_clip_torch"
    first = (str(error).splitlines() or [""])[0]
    return (
        f"open_clip cannot be imported ({type(error).__name__}: {first}); "
        "reinstall torch, torchvision and open_clip_torch in versions that belong together"
    )


def _quietly_import(name: str) -> ModuleType:
    # torchvision and timm warn about their own extensions and renamed modules while they load:
    # nothing the caller could act on, and an error where warnings are errors.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def _declare_operators() -> None:
    import torch

    if _declared:
        return
    library: Any = cast(Any, torch.library).Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)


def _forget_half_imported() -> None:
    """Drop what the failed import left behind: modules that hold only part of their names."""
    for name in list(sys.modules):
        if name.partition(".")[0] in {"torchvision", "timm", "open_clip"}:
            del sys.modules[name]
