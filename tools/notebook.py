"""Run a notebook with Jupyter's client and write what its cells print and show back into it.

python tools/notebook.py examples/tour.ipynb
"""

from __future__ import annotations

import sys
import tempfile

import nbformat
from nbclient import NotebookClient


def run(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with new outputs, run in a new folder; a cell that fails raises its error."""
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=600,
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        )
        made = client.execute()
    for cell in made.cells:
        if "outputs" in cell:  # progress and complaints are no answers
            cell.outputs = [
                o
                for o in cell.outputs
                if o.get("name") != "stderr" and "a2m2_zoo" not in o.get("metadata", {})
            ]
    return made


def main() -> None:
    """Refresh the notebook that the command line names."""
    path = sys.argv[1]
    nbformat.write(run(nbformat.read(path, as_version=4)), path)


if __name__ == "__main__":
    main()
