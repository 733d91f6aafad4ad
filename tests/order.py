"""Which files of tests begin first when they run side by side."""

from __future__ import annotations

#: Files of half a minute and more begin first, the longest before all: none is left to one process at the
#: end.
LONG_FILES = (
    "test_docs.py", "test_host.py", "test_app_session.py", "test_app_browser.py", "test_examples.py",
    "test_generated.py", "test_export_heads.py", "test_readme.py", "test_export_alone.py",
    "test_export_onnx.py", "test_kills.py", "test_api.py", "test_cli_streams.py", "test_cli_signals.py",
    "test_cli.py", "test_free.py", "test_spotting_stream.py", "test_bank_check.py", "test_app_proxy.py",
    "test_spotting_cli.py", "test_compare.py", "test_molo_golden.py", "test_training_loop.py",
    "test_backbones_openclip.py", "test_recipes.py", "test_video_odd.py",
)  # fmt: skip
