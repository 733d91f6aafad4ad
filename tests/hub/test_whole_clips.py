"""Networks that mix frames, on clips as long as the published ones take: 16 and 64 frames, half the steps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hub_server import COMMIT, Hub, Repo
from library_maker import files_of, hf_name, whole

from a2m2_zoo import Recognizer, SupportBank, build_bank, load_model
from a2m2_zoo.cli import main
from a2m2_zoo.errors import CheckpointError
from a2m2_zoo.methods import build_method
from a2m2_zoo.synthetic import draw_clip
from a2m2_zoo.synthetic.write import write_video
from a2m2_zoo.video import normalise, read_clip
from a2m2_zoo.zoo.export import export_model

pytestmark = pytest.mark.usefixtures("seen_once", "few")


def video(path: Path, label: int, instance: int, frames: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, draw_clip(3, label, instance, frames=frames, size=64, style="stick"), fps=25)
    return path


@pytest.mark.parametrize(
    ("name", "frames"), [("org/videomae-16", 16), ("org/vjepa2-16", 16), ("org/vjepa2-64", 64)]
)
def test_all_frames_of_the_configuration_through_the_whole_line(
    name: str, frames: int, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repos[name] = Repo({COMMIT: files_of(name)}, head=COMMIT)
    model = load_model(hf_name(name), device="cpu", pose=False)
    assert (model.preprocess.frames, model.steps) == (frames, frames // 2)
    clips = tmp_path / "clips"
    for label, kind in enumerate(("kick", "wave")):
        video(clips / kind / "0.mp4", label, 0, frames + 8)
    query = video(tmp_path / "query.mp4", 0, 1, 20)  # fewer than 64

    clip = read_clip(query, model.preprocess)
    pixels = normalise(torch.from_numpy(clip.frames)[None], model.preprocess)
    own = getattr(whole(name), "videomae", whole(name))
    given = {"pixel_values" if own is not whole(name) else "pixel_values_videos": pixels}
    options = {} if own is not whole(name) else {"skip_predictor": True}
    with torch.inference_mode():
        last = list(model.backbone(pixels).maps.values())[-1]
        theirs = own(**given, **options).last_hidden_state
    ours = last.movedim(2, -1).flatten(1, 3)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)

    bank = build_bank(clips, model=model)
    answer = Recognizer(model, bank)(query)
    assert len(answer.frames) == frames
    bank.save(tmp_path / "bank.safetensors")
    saved = tmp_path / "saved" / "model.safetensors"
    saved.parent.mkdir()
    model.save(saved)
    hub.repos.clear()
    kept = SupportBank.load(tmp_path / "bank.safetensors")
    named = load_model(hf_name(name), device="cpu", pose=False, offline=True)
    assert Recognizer(named, kept)(query).probabilities == answer.probabilities
    again = load_model(saved, device="cpu", pose=False, offline=True)
    assert (
        Recognizer(again, build_bank(clips, model=again))(query).probabilities
        == answer.probabilities
    )
    if frames < 64:
        return
    capsys.readouterr()
    asked = ["classify", str(query), "-s", str(clips), "--no-pose", "--device", "cpu"]
    assert main([*asked, "--model", str(saved.parent), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["probabilities"] == pytest.approx(dict(answer.probabilities))
    plain = replace(model, method=build_method("protonet", {}).eval(), method_name="protonet")
    made = export_model(plain, tmp_path / "exported", to="torch-export")
    assert made.differences["encoder"]["mean"] < 1e-5


@pytest.mark.parametrize("frames", [7, 0, -2, 1 << 40, "64", None])
def test_a_configuration_of_no_possible_clip_is_refused(frames: object, hub: Hub) -> None:
    files = files_of("org/vjepa2-16")
    config = {**json.loads(files["config.json"]), "frames_per_clip": frames}
    files = {**files, "config.json": json.dumps(config).encode()}
    hub.repos["org/odd"] = Repo({COMMIT: files}, head=COMMIT)
    with pytest.raises(CheckpointError) as caught:
        load_model(hf_name("org/odd"), device="cpu")
    assert "\n" not in str(caught.value)
