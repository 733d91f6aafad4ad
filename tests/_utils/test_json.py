from __future__ import annotations

from pathlib import Path

import pytest
from makers_files import endless, within

from a2m2_zoo._utils.bounded_json import OutOfBoundsError, parse, read


def test_what_is_json_comes_back_as_it_is() -> None:
    assert parse('[1, -2.5, "ä", null, true, {"a": []}]') == [1, -2.5, "ä", None, True, {"a": []}]
    assert parse("[" * 60 + "]" * 60)
    assert parse(b'"\xc3\xa4"') == "ä"


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "[Infinity]",
        '{"a": -Infinity}',
        "1e999",
        "[-1e400]",
        "1" + "0" * 400,
        "-" + "9" * 19,
        "9" * 5000,
        "[" * 100 + "]" * 100,
        "[" * 5000,
        "[" * 200_000 + "]" * 200_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
    ],
)
def test_what_no_file_of_ours_holds_is_refused(text: str) -> None:
    with within(5), pytest.raises(OutOfBoundsError) as caught:
        parse(text)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("text", ["", "{", "[1,]", "nan", b"\xff\xfe", "'a'"])
def test_what_is_no_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        parse(text)


def test_only_regular_files_of_bounded_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1]")
    assert read(tmp_path / "a.json") == [1]
    for path in endless(tmp_path, ".json"):
        with within(5), pytest.raises(OSError, match=r"regular|limit|No such"):
            read(path)
