"""Run a notebook's cells in one namespace and write what they print and show back into it.

    python tools/notebook.py examples/tour.ipynb

Needs no Jupyter. The last line of a cell is shown if it is an expression: as a picture if it knows how to
be one (``_repr_png_``), else as text.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any


def run(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook with new outputs; a cell that fails raises its error."""
    space: dict[str, Any] = {"__name__": "__main__"}
    cells = []
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            count = 1 + sum(c["cell_type"] == "code" for c in notebook["cells"][:number])
            outputs = _outputs("".join(cell["source"]), space, f"cell {count}", count)
            cell = {**cell, "execution_count": count, "outputs": outputs}
        cells.append(cell)
    return {**notebook, "cells": cells}


def _outputs(source: str, space: dict[str, Any], name: str, count: int) -> list[dict[str, Any]]:
    tree = ast.parse(source, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, shown = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, name, "exec"), space)
        if isinstance(last, ast.Expr):
            shown = eval(compile(ast.Expression(last.value), name, "eval"), space)
    found: list[dict[str, Any]] = []
    if text := printed.getvalue():
        found.append({"output_type": "stream", "name": "stdout", "text": text.splitlines(True)})
    if shown is not None:
        data: dict[str, Any] = {"text/plain": [repr(shown).split(" at 0x")[0]]}
        if hasattr(shown, "_repr_png_"):
            data["image/png"] = base64.b64encode(shown._repr_png_()).decode()
        result = {"output_type": "execute_result", "execution_count": count, "metadata": {}}
        found.append({**result, "data": data})
    return found


def main() -> None:
    """Refresh the notebook that the command line names."""
    path = Path(sys.argv[1]).resolve()
    notebook = json.loads(path.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        made = run(notebook)
        os.chdir(path.parent)
    path.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
