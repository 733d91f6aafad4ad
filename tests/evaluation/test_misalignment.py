from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from a2m2_zoo.backbones import Features
from a2m2_zoo.cli import main
from a2m2_zoo.data.draws import draw_episodes
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.evaluation.misalignment import encode_misaligned, misalignment_curves
from a2m2_zoo.evaluation.warps import KINDS, instants, looked_at
from a2m2_zoo.methods.a2m2 import A2M2, A2M2Config
from a2m2_zoo.methods.blocks import A2Config, M2Config
from a2m2_zoo.report.misalignment import draw_curves
from a2m2_zoo.synthetic import ClipFormat, write_dataset

pytestmark = pytest.mark.usefixtures("seen_once")

M2 = M2Config(channels=4, dim=3, scales=(1, 0))
CONFIG = A2M2Config(m2={"s7": M2}, a2=A2Config(groups="scale"))


def moving(clips: int, *, frames: int = 32, seed: int = 0) -> Features:
    """Clips of an action that no other clip shows, on a dense grid."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(clips, frames, 4, 3, 3, generator=generator)
    return Features({"s7": maps}, maps.mean((-2, -1)))


@given(st.sampled_from(sorted(KINDS)), st.floats(0, 0.95), st.integers(0, 10**6))
def test_time_never_runs_backwards_and_stays_in_the_clip(
    kind: str, amount: float, seed: int
) -> None:
    at = instants(8, 5, kind=kind, amount=amount, seed=seed)
    assert ((at >= 0) & (at <= 1)).all()
    assert (at.diff(dim=1) >= -1e-6).all()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_no_amount_changes_nothing(kind: str) -> None:
    at = instants(8, 3, kind=kind, amount=0.0, seed=1)
    torch.testing.assert_close(at, ((torch.arange(8) + 0.5) / 8).expand(3, -1))


def test_each_kind_does_what_it_says() -> None:
    half = {kind: instants(8, 200, kind=kind, amount=0.5, seed=0) for kind in KINDS}
    # Half the window beyond the action: half of the frames stand still at one end of it.
    still = (half["shift"] == 0).sum(1) + (half["shift"] == 1).sum(1)
    assert set(still.tolist()) == {4}
    # Half of the action is missing, evenly sampled.
    np.testing.assert_allclose(half["trim"].diff(dim=1).numpy(), 0.5 / 8, atol=1e-6)
    # The whole action in half of the time: twice as fast wherever it moves.
    steps = half["idle"].diff(dim=1)
    inside = (half["idle"][:, 1:] < 1) & (half["idle"][:, :-1] > 0)
    np.testing.assert_allclose(steps[inside].numpy(), 2 / 8, atol=1e-6)
    # One half of the action takes a quarter of the time: its speed is doubled, the other's two thirds.
    speeds = half["speed"].diff(dim=1)[:, [0, -1]] * 8
    np.testing.assert_allclose(sorted(set(speeds.flatten().tolist()))[-1], 2.0, atol=1e-4)
    np.testing.assert_allclose(min(speeds.flatten().tolist()), 2 / 3, atol=1e-4)
    # Both sides are drawn.
    assert 60 < int((half["shift"][:, 0] == 0).sum()) < 140


def test_a_misaligned_clip_is_a_choice_of_dense_frames() -> None:
    dense = moving(2)
    seen = looked_at(dense, torch.tensor([[0.0, 0.5, 1.0], [0.02, 0.04, 0.999]]))
    expected = [[0, 16, 31], [0, 1, 31]]
    for clip in range(2):
        torch.testing.assert_close(seen.pooled[clip], dense.pooled[clip, expected[clip]])
        torch.testing.assert_close(seen.maps["s7"][clip], dense.maps["s7"][clip, expected[clip]])


def test_pieces_of_the_cache_do_not_show() -> None:
    method = A2M2(CONFIG).eval()
    whole = encode_misaligned(method, [moving(6)], frames=8, amounts=(0.0, 0.3), seed=3)
    features = moving(6)
    pieces = [
        Features({"s7": features.maps["s7"][part]}, features.pooled[part])
        for part in (slice(0, 2), slice(2, 6))
    ]
    parts = encode_misaligned(method, pieces, frames=8, amounts=(0.0, 0.3), seed=3)
    assert set(whole) == {("", 0.0), *((kind, 0.3) for kind in KINDS)}
    for case, descriptors in whole.items():
        torch.testing.assert_close(parts[case]["moments"], descriptors["moments"])


def test_queries_move_and_supports_do_not() -> None:
    method = A2M2(CONFIG).eval()
    encoded = encode_misaligned(method, [moving(12)], frames=8, amounts=(0.4,), kinds=["shift"])
    labels = torch.arange(4).repeat_interleave(3)
    draw = draw_episodes(labels, EpisodeForm(way=3, shot=2, episodes=20))
    (curve,) = misalignment_curves({"a2m2": method}, encoded, draw, workers=1)
    assert curve.amounts == (0.0, 0.4)
    right = []
    for e in range(20):
        supports = {k: v[draw.support[e]][None] for k, v in encoded["", 0.0].items()}
        queries = {k: v[draw.query[e]][None] for k, v in encoded["shift", 0.4].items()}
        with torch.inference_mode():
            logits = method.score(queries, supports, labels=draw.labels, way=3)[0]
        right.append((logits.argmax(-1) == draw.truth).double().mean().item())
    assert curve.accuracy[1] == pytest.approx(100 * np.mean(right))
    assert curve.behind == (0.0, 0.0)
    control = method.with_alignment("global")
    both = misalignment_curves({"a2m2": method, "global": control}, encoded, draw, workers=1)
    for i in range(2):
        assert both[1].behind[i] == pytest.approx(both[0].accuracy[i] - both[1].accuracy[i])


def test_what_is_refused() -> None:
    with pytest.raises(ArgumentError, match="kind is 'flip'; expected one of shift, trim"):
        instants(8, 1, kind="flip", amount=0.1, seed=0)
    with pytest.raises(ArgumentError, match=r"amount is 1\.0; expected a part of the clip"):
        instants(8, 1, kind="idle", amount=1.0, seed=0)
    with pytest.raises(ArgumentError, match="no curves"):
        draw_curves([], Path("x.png"), title="")


def test_command_line_measures_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "clips"
    write_dataset(data, classes=2, clips=3, form=ClipFormat(size=64))
    call = ["misalign", str(data), "--way", "2", "--episodes", "40", "--amounts", "0,50"]
    call += ["--kinds", "shift", "--cache", str(tmp_path / "cache")]
    receipt, picture = tmp_path / "r.json", tmp_path / "p.png"
    assert main([*call, "--out", str(receipt), "--plot", str(picture)]) == 0
    shown = capsys.readouterr().out
    assert "a2m2-diagonal" in shown
    assert "50 %" in shown
    curves = json.loads(receipt.read_text())["curves"]
    assert curves[0]["method"] == "a2m2"
    assert len(curves) == 5
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert main([*call, "--workers", "1", "--out", str(tmp_path / "again.json")]) == 0
    assert json.loads((tmp_path / "again.json").read_text())["curves"] == curves
    for wrong in ("ten", "0,140", "-5", "nan"):
        assert main(["misalign", str(data), f"--amounts={wrong}"]) == 2
        said = wrong.rpartition(",")[2]
        assert f"--amounts has {said!r}; give percents" in capsys.readouterr().err
    few = data / "few"
    few.mkdir()
    clip = sorted(data.glob("*/*.mp4"))[0]
    shutil.copy(clip, few)
    for folder in (clip.parent, few):
        (folder / "bad.mp4").write_bytes(b"no video")
    left = tmp_path / "left.json"
    assert main([*call, "--out", str(left)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1].split("'")[0] for line in lines if "left out" in line] == [
        *(" left out clip ",) * 2,
        " left out class ",
    ]
    assert json.loads(left.read_text())["curves"] == curves, "the clips are those of before"
