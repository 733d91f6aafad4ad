from __future__ import annotations

from pathlib import Path

import pytest

from a2m2_zoo._files import write_atomically
from a2m2_zoo.errors import SaveError


def test_a_new_file_is_whole_and_alone(tmp_path: Path) -> None:
    written = write_atomically(tmp_path / "a.txt", lambda p: p.write_text("new"))
    assert written.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    "blow", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("x")]
)
def test_the_old_file_survives_whatever_goes_wrong(tmp_path: Path, blow: BaseException) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write(scratch: Path) -> None:
        scratch.write_text("half")
        raise blow

    with pytest.raises(SaveError if isinstance(blow, OSError) else type(blow)) as caught:
        write_atomically(target, write)
    if isinstance(blow, OSError):
        assert "No space left on device" in str(caught.value)
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_missing_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match=r"cannot write '.*no/a.txt': No such file or directory"):
        write_atomically(tmp_path / "no" / "a.txt", lambda p: p.write_text("x"))
