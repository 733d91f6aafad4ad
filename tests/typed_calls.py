"""Calls as a user's type checker sees them: read by mypy (`make types`), never run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2m2_zoo import Prediction, Recognizer, build_bank, classify, iter_classify

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image
    from torch import Tensor
    from typing_extensions import assert_type

    from a2m2_zoo import SupportBank
    from a2m2_zoo.errors import A2M2Error


def clips(
    bank: SupportBank,
    pictures: list[Image],
    array: npt.NDArray[np.uint8],
    floats: npt.NDArray[np.float32],
    tensor: Tensor,
) -> None:
    assert_type(classify(array, bank), Prediction)
    assert_type(classify(tensor, bank), Prediction)
    assert_type(classify(pictures, bank), Prediction)
    assert_type(classify(floats, bank, layout="TCHW 0..1"), Prediction)
    assert_type(classify(["a.mp4", "b.mp4"], bank), list[Prediction])
    assert_type(classify([Path("a.mp4")], bank), list[Prediction])
    assert_type(classify(["a.mp4", "b.mp4"], bank, on_error="return"), list[Prediction | A2M2Error])
    # Pictures of one clip, or clips: the axes tell, and no type does.
    assert_type(classify([array, array], bank), Any)
    # One clip is there, or a folder of clips.
    assert_type(classify("a.mp4", bank), Prediction | Any)


def recognised(
    recognizer: Recognizer,
    pictures: list[Image],
    frames: list[npt.NDArray[np.uint8]],
    floats: npt.NDArray[np.float32],
) -> None:
    assert_type(recognizer(pictures), Prediction)
    assert_type(recognizer(frames), Prediction)
    assert_type(recognizer(floats, layout="TCHW 0..1"), Prediction)
    recognizer.iter_classify(Path("folder"))
    recognizer.classify("clips/*.mp4")
    iter_classify(Path("folder"), recognizer.bank)


def supports(pictures: list[Image], array: npt.NDArray[np.uint8]) -> None:
    build_bank({"a": Path("folder"), "b": "folder"})
    build_bank({"a": pictures, "b": array})
    build_bank({"a": [Path("a.mp4")], "b": [array]})
