from a2m2_zoo.testing import check_backbone, check_method


def test_the_method() -> None:
    check_method("spread")


def test_the_backbone() -> None:
    check_backbone("stripes")
