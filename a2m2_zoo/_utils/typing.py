"""Shapes in annotations: ``Float[Tensor, "b s d"]``.

jaxtyping is a development dependency: where it is installed (the tests) shapes are checked, elsewhere the
names below only make the annotations readable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, UInt8
else:
    try:
        from jaxtyping import Bool, Float, Int, UInt8
    except ImportError:

        class _Shaped:
            def __class_getitem__(cls, item: Any) -> Any:
                return item[0]

        Bool = Float = Int = UInt8 = _Shaped

__all__ = ["Bool", "Float", "Int", "UInt8"]
