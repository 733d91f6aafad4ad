"""The one door to open_clip, timm, torchvision and transformers."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from types import ModuleType
from typing import Any, cast

from a2m2_zoo.errors import DependencyError

_BROKEN = "operator torchvision::nms does not exist"

# Module → what pip calls it, and the backbones that are its own.
_PACKAGES = {
    "open_clip": ("open_clip_torch", "CLIP"),
    "timm": ("timm", "timm:"),
    "torchvision": ("torchvision", "torchvision:"),
    "transformers": ('"a2m2_zoo[transformers]"', "hf:"),
}

# The library that holds the two schemas; kept, for they vanish with it. Filled once, at need.
_declared: list[Any] = []


def import_open_clip() -> ModuleType:
    """Import open_clip, see ``import_library``."""
    return import_library("open_clip")


def import_library(name: str) -> ModuleType:
    """Import one of them, also where torchvision was built for another torch than the one installed.

    torchvision's wheels from the public index are built against CUDA. Beside a CPU build of torch
    their compiled part cannot be loaded, the two operators it would define stay unknown, and
    ``import torchvision`` stops with ``operator torchvision::nms does not exist``, and with it the
    others, which need torchvision's Python part only. If, and only if, that very error
    comes, the two schemas are declared (without a kernel: calling them still fails) and the import
    is tried once more. Where torchvision is sound nothing is declared.

    Args:
        name: ``open_clip``, ``timm``, ``torchvision`` or ``transformers``.

    Returns:
        The module.

    Raises:
        DependencyError: It is not installed or cannot be imported.
    """
    if name == "transformers" and importlib.util.find_spec("torchvision") is not None:
        import_library("torchvision")  # which it imports when its parts are first asked for
    try:
        return _quietly_import(name)
    except RuntimeError as error:
        if _BROKEN not in str(error):
            raise DependencyError(_failed(name, error)) from error
    except ImportError as error:
        raise DependencyError(_failed(name, error)) from error
    _declare_operators()
    _forget_half_imported()
    try:
        return _quietly_import(name)
    except (ImportError, RuntimeError) as error:
        raise DependencyError(_failed(name, error)) from error


def _failed(name: str, error: Exception) -> str:
    package, asked = _PACKAGES[name]
    if isinstance(error, ModuleNotFoundError) and error.name == name:
        return f"{asked} backbones need {name}, which is not installed: pip install {package}"
    first = (str(error).splitlines() or [""])[0]
    return (
        f"{name} cannot be imported ({type(error).__name__}: {first}); "
        f"reinstall torch, torchvision and {package} in versions that belong together"
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
