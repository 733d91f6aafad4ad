"""Progress in a real kernel: what somebody sees who runs cells."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from a2m2_zoo._utils import notebooks
from a2m2_zoo.synthetic import ClipFormat, write_dataset

HERE = Path(__file__).resolve().parents[1]

# Work of less than two seconds shows nothing; here all of it is long.
HURRY = """
from a2m2_zoo._utils import notebooks
notebooks._PATIENCE = 0.0
"""
PYTHON = """
from a2m2_zoo import build_bank, classify, load_model
model = load_model("protonet-lite0")
bank = build_bank("clips", model=model)
answers = classify("clips", bank, model=model)
model.embed("clips")
len(answers)
"""
TRAIN = f"""
import sys
from pathlib import Path
sys.path += {[str(HERE), str(HERE / "training")]}
from training_maker import run
run(Path("run"))[0].step
"""
COMMAND = """
from a2m2_zoo.cli import main
main(["bank", "create", "clips", "--out", "bank.safetensors", "--model", "protonet-lite0"])
"""


def shown(folder: Path, *cells: str) -> list[list[nbformat.NotebookNode]]:
    """The outputs of each cell, run in a kernel of its own in ``folder``."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = NotebookClient(made, timeout=300, resources={"metadata": {"path": str(folder)}})
    return [cell.outputs for cell in client.execute().cells]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[list[nbformat.NotebookNode]]:
    folder = tmp_path_factory.mktemp("cells")
    form = ClipFormat(frames=8, size=64)
    write_dataset(folder / "clips", classes=2, clips=4, named=True, form=form)
    return shown(folder, HURRY, PYTHON, COMMAND, TRAIN, "notebooks._PATIENCE = 60.0", PYTHON)


def bars(outputs: list[nbformat.NotebookNode]) -> list[tuple[str, str]]:
    """What is left of each bar, as HTML and as text."""
    found = [o.data for o in outputs if o.output_type == "display_data"]
    return [(data["text/html"], data["text/plain"]) for data in found]


def test_a_bar_for_each_piece_of_work_that_ends_full(
    outputs: list[list[nbformat.NotebookNode]],
) -> None:
    python = bars(outputs[1])
    assert [re.sub(r", \d+ s$", "", text) for _, text in python] == [
        "reading supports: 8 of 8",
        "classifying: 8 of 8",
        "embedding: 8 of 8",
    ]
    assert python[0][0] == f"<progress value='1.0000' max='1'></progress> {python[0][1]}"
    assert outputs[1][-1].data["text/plain"] == "8"  # the answer is the last that is shown


def test_a_command_in_a_cell_has_a_bar_and_no_lines_for_a_terminal(
    outputs: list[list[nbformat.NotebookNode]],
) -> None:
    assert [re.sub(r", \d+ s$", "", text) for _, text in bars(outputs[2])] == [
        "reading supports: 8 of 8"
    ]
    said = "".join(o.text for o in outputs[2] if o.output_type == "stream" and o.name == "stderr")
    assert "reading supports" not in said


def test_short_work_shows_nothing(outputs: list[list[nbformat.NotebookNode]]) -> None:
    assert bars(outputs[5]) == []


def test_training_shows_how_far_it_is_and_what_was_measured(
    outputs: list[list[nbformat.NotebookNode]],
) -> None:
    steps = outputs[3][-1].data["text/plain"]
    ((drawn, said),) = bars(outputs[3])
    assert said.startswith(f"step {steps} of {steps}, ")
    assert "loss" in said
    assert "held out" in said
    assert drawn.startswith("<progress value='1.0000' max='1'>")


def test_nothing_is_shown_anywhere_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert not notebooks.in_notebook()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notebooks, "_PATIENCE", 0.0)
        assert list(notebooks.watched([3, 5], "counting", 2)) == [3, 5]
    assert capsys.readouterr() == ("", "")
    assert "IPython.display" not in sys.modules or not notebooks.in_notebook()
