"""What every method and every backbone must keep, for tests of other people's; else ``AssertionError``.

from a2m2_zoo.testing import check_backbone, check_method

def test_mine():
    check_method("mine")
"""

from a2m2_zoo.testing.backbones import check_backbone
from a2m2_zoo.testing.methods import METHOD_CHECKS, check_method

__all__ = ["METHOD_CHECKS", "check_backbone", "check_method"]
