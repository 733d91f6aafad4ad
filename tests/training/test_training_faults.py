"""What goes wrong in training, and backbones that are trained too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import training_maker as maker
from torch import Tensor, nn
from training_maker import same, saved, stop_at

from a2m2_zoo._utils import files as _files
from a2m2_zoo.backbones import Features, build_backbone
from a2m2_zoo.errors import ArgumentError, EpisodeError, SaveError
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.methods.base import Method, TrainingBatch
from a2m2_zoo.methods.protonet import ProtoNet, ProtoNetConfig
from a2m2_zoo.training import Validation
from a2m2_zoo.training.logs import read_log
from a2m2_zoo.training.state import BEST, LAST


class Broken:
    """A source with batches that hold a number which is none."""

    def __init__(self, bad: set[int]) -> None:
        self.inner, self.bad = maker.source(maker.settings()), bad
        self.classes = self.inner.classes

    def batch(self, index: int) -> TrainingBatch:
        batch = self.inner.batch(index)
        if index not in self.bad:
            return batch
        return replace(batch, query=Features({}, batch.query.pooled * float("nan")))


def test_a_step_without_a_finite_loss_changes_nothing_and_is_counted(tmp_path: Path) -> None:
    found, _ = maker.run(tmp_path / "run", source=Broken({4, 5, 11}))
    assert (found.skipped, found.step) == (3, 20)
    rows = read_log(tmp_path / "run" / "log.jsonl")
    assert [row["step"] for row in rows if "skipped" in row] == [5, 6, 12]
    assert all(value.isfinite().all() for value in saved(tmp_path / "run").values())


def test_ten_in_a_row_end_the_run_with_the_state_before_intact(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="the loss was not finite in 10 steps in a row"):
        maker.run(tmp_path / "run", source=Broken(set(range(7, 30))))
    tensors = saved(tmp_path / "run")
    assert all(value.isfinite().all() for value in tensors.values())


def test_a_run_of_which_every_step_was_left_out_has_not_trained(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"the loss was not finite in every step; lower lr"):
        maker.run(tmp_path / "run", config=maker.settings(steps=4), source=Broken(set(range(30))))


def test_a_head_whose_scores_are_not_finite_ends_the_run_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, measured = maker.settings(validate_every=5), []

    def accuracy(*_: object) -> dict[int, float]:
        measured.append(1)
        if len(measured) > 1:  # as ridge regression does with numbers that are none
            raise torch.linalg.LinAlgError("linalg.eigh failed to converge")
        return {1: 50.0}

    monkeypatch.setattr(Validation, "accuracy", accuracy)
    with pytest.raises(
        ArgumentError, match=r"scores are not finite after step 5; lower lr \(0\.001\)"
    ):
        maker.run(tmp_path / "run", config=config)


class Steep(Method):
    """A loss that is finite and whose gradient is not."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, 2))
        self.config = ProtoNetConfig()

    def encode(self, features: Features) -> dict[str, Tensor]:
        return {"mean": features.pooled.mean(1)}

    def score(self, query: Any, support: Any, *, labels: Tensor, way: int) -> Tensor:
        return torch.zeros(*query["mean"].shape[:2], way)

    def losses(self, batch: TrainingBatch) -> dict[str, Tensor]:
        return {"root": self.weight.sqrt().sum()}


def test_a_gradient_that_is_not_finite_changes_nothing_either(tmp_path: Path) -> None:
    method = Steep()
    with pytest.raises(ArgumentError, match="the gradient was not finite in 10 steps"):
        maker.run(tmp_path / "run", method=method)
    assert torch.equal(method.weight, torch.zeros(2, 2))


def test_a_full_disk_is_one_line_and_leaves_the_state_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, whole = tmp_path / "run", tmp_path / "whole"
    maker.run(whole)
    real, count = Path.write_bytes, 0

    def full(self: Path, data: Any) -> int:
        nonlocal count
        count += b'kind\\": \\"training\\"' in data  # the state, not the best weights
        if count == 3:
            real(self, data[:100])
            raise OSError(28, "No space left on device")
        return real(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(_files.Path, "write_bytes", full)
        with pytest.raises(SaveError, match="No space left"):
            maker.run(out)
    assert checkpoint.load(out / LAST, kind="training").record["progress"]["step"] == 6
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
    maker.run(out, resume=True)
    assert same(saved(out), saved(whole))


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="cannot make"):
        maker.run(tmp_path / "file" / "run")


def test_validation_on_training_classes_is_refused_by_name() -> None:
    found, labels = maker.features(3, 4, seed=1)
    with pytest.raises(EpisodeError, match="'jump' is trained on and validated on"):
        Validation.of_features(
            found, labels, names=["jump", "run", "sit"], training_names=["jump", "wave"]
        )
    with pytest.raises(EpisodeError, match="hold out at least 2"):
        Validation.of_features(found, labels * 0, names=["run"], training_names=["jump"])
    with pytest.raises(ArgumentError, match="one name per class"):
        Validation.of_features(found, labels, names=["run", "sit"], training_names=["jump"])


def test_too_few_held_out_clips_are_said_before_training(tmp_path: Path) -> None:
    with pytest.raises(EpisodeError, match="need 7 clips per class"):
        maker.run(tmp_path / "run", config=maker.settings(validate_shots=(6,)))
    assert not (tmp_path / "run").exists()


def test_a_method_without_parameters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="ProtoNet has no parameters"):
        maker.run(tmp_path / "run", method=ProtoNet(ProtoNetConfig()))
    with pytest.raises(ArgumentError, match="there is no backbone"):
        maker.run(tmp_path / "run", config=maker.settings(backbone_lr=1e-4))


class Clips:
    """Frames of moving gradients, two classes of them in each batch."""

    classes = 4

    def batch(self, index: int) -> TrainingBatch:
        draw = torch.Generator().manual_seed(index)
        slope = torch.linspace(-1, 1, 64)
        kinds = torch.stack([s * slope.expand(64, 64) for s in (1, -1)])
        kinds = torch.cat([kinds, kinds.mT])
        pick = torch.randperm(4, generator=draw)[:2]

        def frames(count: int) -> Tensor:
            pictures = kinds[pick].repeat_interleave(count, 0)[:, None, None]
            return pictures.expand(-1, 2, 3, -1, -1) + 0.3 * torch.randn(
                2 * count, 2, 3, 64, 64, generator=draw
            )

        empty = Features({}, torch.zeros(2, 2, 0))
        return TrainingBatch(
            query=empty,
            support=empty,
            labels=torch.arange(2),
            query_labels=torch.arange(2),
            way=2,
            support_classes=pick,
            query_classes=pick,
            support_frames=frames(1),
            query_frames=frames(1),
        )


def test_a_backbone_is_tuned_from_frames_and_resumes_to_the_bit(tmp_path: Path) -> None:
    frames = torch.cat([Clips().batch(i).query_frames for i in range(100, 104)])
    clips = torch.cat([frames, frames + 0.1])
    config = maker.settings(
        way=2,
        shot=1,
        query=1,
        batch=1,
        steps=8,
        backbone_lr=1e-3,
        validate_every=4,
        checkpoint_every=2,
    )

    def run(out: Path, **how: Any) -> None:
        backbone = build_backbone("tiny")
        validation = Validation.of_frames(
            lambda: clips.split(3),
            torch.arange(8).repeat(2),
            stages=(),
            names=list("abcdefgh"),
            training_names=list("wxyz"),
        )
        maker.run(
            out, source=Clips(), config=config, backbone=backbone, validation=validation, **how
        )

    run(tmp_path / "whole")
    tuned = saved(tmp_path / "whole")["backbone.patch.weight"]
    assert not torch.equal(tuned, build_backbone("tiny").patch.weight)
    run(tmp_path / "parts", progress=stop_at(3))
    run(tmp_path / "parts", resume=True)
    assert same(saved(tmp_path / "parts"), saved(tmp_path / "whole"))
    assert "backbone.patch.weight" in saved(tmp_path / "whole", BEST)


def test_a_frozen_backbone_stays_as_it_is(tmp_path: Path) -> None:
    backbone = build_backbone("tiny")
    config = maker.settings(way=2, shot=1, query=1, batch=1, steps=3)
    maker.run(tmp_path / "run", source=Clips(), config=config, backbone=backbone, validation=None)
    assert torch.equal(backbone.patch.weight, build_backbone("tiny").patch.weight)
    assert not any(name.startswith("backbone.") for name in saved(tmp_path / "run"))
    with pytest.raises(ArgumentError, match="no frames"):
        maker.run(tmp_path / "other", backbone=backbone)
