"""Which files of tests begin first when they run side by side."""

from __future__ import annotations

#: Files of half a minute and more begin first, the longest before all: none is left to one process at the
#: end.
LONG_FILES = (
    "test_docs.py", "test_ray.py", "test_any_backbone.py", "test_export_onnx.py", "test_host.py",
    "test_app_browser.py", "test_pictures.py", "test_examples.py", "test_export_heads.py",
    "test_spotting_stream.py", "test_free.py",
    "test_app_session.py", "test_generated.py", "test_readme.py", "test_spotting_frames.py",
    "test_kills.py", "test_api.py", "test_cli_streams.py", "test_cli_signals.py", "test_cli.py",
    "test_cli_train_small.py",
    "test_bank_check.py", "test_app_proxy.py", "test_app_archive.py", "test_spotting_cli.py",
    "test_compare.py", "test_molo_golden.py", "test_training_loop.py",
    "test_recipes.py", "test_sklearn.py", "test_backbones_libraries.py", "test_plugins.py",
    "test_video_odd.py", "test_remote_commands.py", "test_archive_find.py",
    "test_archive_kills.py", "test_whole_clips.py",
)  # fmt: skip
