from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from makers import draw_video, still, three_classes

from a2m2_zoo import build_bank
from a2m2_zoo.api import default_model
from a2m2_zoo.cli import main
from a2m2_zoo.errors import EpisodeError
from a2m2_zoo.evaluation.bank_check import check_bank, check_supports
from a2m2_zoo.evaluation.bank_check.copies import SAME, clip_distances, same_files
from a2m2_zoo.evaluation.bank_check.growth import growth
from a2m2_zoo.evaluation.bank_check.labels import leave_one_out
from a2m2_zoo.recognition.support_set import SupportSet
from a2m2_zoo.synthetic import draw_clip, write_video
from a2m2_zoo.video import read_clip

pytestmark = pytest.mark.usefixtures("seen_once")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of generated motion, every clip filmed elsewhere."""
    root = tmp_path_factory.mktemp("sound")
    for name, number in (("first", 5200), ("second", 5204), ("third", 5220)):
        (root / name).mkdir()
        for i in range(4):
            frames = draw_clip(3, number, i, frames=20, size=224)
            write_video(root / name / f"{i}.mp4", frames)
    return root


@pytest.fixture(scope="module")
def planted(sound: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a fault of every kind."""
    root = tmp_path_factory.mktemp("planted") / "clips"
    shutil.copytree(sound, root)
    shutil.copy(root / "first" / "0.mp4", root / "first" / "again.mp4")
    shutil.copy(root / "second" / "0.mp4", root / "third" / "wrong.mp4")
    frames = draw_clip(3, 5220, 1, frames=20, size=224)
    write_video(root / "third" / "small.avi", frames[:, ::2, ::2], fps=5)
    (root / "second" / "broken.mp4").write_bytes(b"no clip")
    write_video(root / "second" / "picture.mp4", frames[:1])
    return root


def test_every_planted_fault_is_named(planted: Path) -> None:
    ticks: list[int] = []
    report = check_supports(planted, model=default_model(), on_clip=lambda: ticks.append(1))
    named = {(f.kind, f.clip): f for f in report.findings}
    assert len(ticks) == 17
    assert report.counts == {"first": 5, "second": 6, "third": 6}
    assert named["broken", "second/broken.mp4"].detail.startswith("not a video")
    assert "1 frame" in named["flawed", "second/picture.mp4"].detail
    copies = {(f.kind, frozenset([f.clip, f.other])) for f in report.findings if f.other}
    assert ("same file", frozenset(["first/0.mp4", "first/again.mp4"])) in copies
    assert ("same file", frozenset(["second/0.mp4", "third/wrong.mp4"])) in copies
    assert ("near-duplicate", frozenset(["third/1.mp4", "third/small.avi"])) in copies
    assert len([f for f in report.findings if f.kind in ("same file", "near-duplicate")]) == 3
    assert [f.kind for f in report.findings] == sorted(
        (f.kind for f in report.findings),
        key=["broken", "flawed", "same file", "near-duplicate", "looks like another class",
             "unlike its class"].index,
    )  # fmt: skip


def test_nothing_is_wrong_with_sound_clips(sound: Path) -> None:
    report = check_supports(sound, model=default_model())
    kinds = {f.kind for f in report.findings}
    assert not kinds & {"broken", "flawed", "same file", "near-duplicate"}
    assert report.growth is not None
    assert report.growth.shot == 4
    assert not any("one more clip" in note for note in report.notes)


def test_a_wrong_label_is_seen_and_right_ones_are_not(tmp_path: Path) -> None:
    for i in range(5):
        draw_video(tmp_path / "right" / f"{i}.mp4", 20 + i)
        still(tmp_path / "still" / f"{i}.mp4", 20 + i)
    draw_video(tmp_path / "still" / "wrong.mp4", 31)
    model = default_model()
    bank = build_bank(tmp_path, model=model)
    found = [f for f in check_bank(bank, model).findings if f.kind == "looks like another class"]
    assert [(Path(f.clip).name, f.class_name, f.other) for f in found] == [
        ("wrong.mp4", "still", "right")
    ]


def test_labels_by_each_other() -> None:
    """Two clear classes with one swapped clip, one of them with an outlier, and a class of one clip."""
    torch.manual_seed(0)
    way_of = torch.tensor([0] * 8 + [1] * 8 + [2])
    true = way_of.clone()
    true[3] = 1
    far = torch.ones(17)
    far[12] = 0.1
    pairs = (true[:, None] == true).double() * far[:, None] * far + 0.02 * torch.randn(17, 17)
    model = default_model()
    found = leave_one_out(SupportSet.of(model, (20 * pairs).double(), way_of, way=3))
    assert found.index.tolist() == list(range(16))
    ((n, answer, best, own),) = found.doubtful()
    assert (n, answer) == (3, 1)
    assert best > 0.9 > 0.1 > own
    assert 12 in [n for n, _ in found.outliers()]
    assert not {n for n, _ in found.outliers()} - {3, 12}
    assert found.confusions(("a", "b", "c")) == []


def test_confused_classes() -> None:
    torch.manual_seed(1)
    labels = torch.arange(3).repeat_interleave(6)
    kin = torch.tensor([[1.0, 0.999, 0.0], [0.999, 1.0, 0.0], [0.0, 0.0, 1.0]])
    pairs = kin[labels][:, labels] + 0.01 * torch.randn(18, 18)
    found = leave_one_out(
        SupportSet.of(default_model(), (3 * pairs).double(), labels, way=3)
    ).confusions(("a", "b", "c"))
    assert {(pair.truth, pair.answer) for pair in found} == {("a", "b"), ("b", "a")}
    assert all(0.2 <= pair.share <= 0.6 for pair in found)
    assert found[0].share >= found[1].share


def test_growth_against_a_plain_loop() -> None:
    """With all but one support of its class chosen there is one choice only for the asked clip's class."""
    torch.manual_seed(2)
    labels = torch.arange(2).repeat_interleave(4)
    pairs = (labels[:, None] == labels).double() + 1.5 * torch.randn(8, 8)
    found = growth(pairs, labels, way=2, rule="mean")
    assert found is not None
    assert [s for s, _ in found.measured] == [1, 2, 3]
    right = []
    for i in range(8):
        mates = [j for j in range(8) if labels[j] == labels[i] and j != i]
        others = [j for j in range(8) if labels[j] != labels[i]]
        own = pairs[i, mates].mean()
        wins = [own > pairs[i, [j for j in others if j != left]].mean() for left in others]
        right.append(np.mean(wins))
    assert found.measured[2][1] == pytest.approx(100 * np.mean(right), abs=8)
    assert growth(pairs, labels, way=2, rule="mean") == found


def test_growth_sees_where_more_clips_help_and_where_not() -> None:
    torch.manual_seed(3)
    labels = torch.arange(4).repeat_interleave(8)
    centres = torch.randn(4, 10)[labels]
    noisy = centres + 1.6 * torch.randn(32, 10)
    helped = growth(noisy @ noisy.mT, labels, way=4, rule="mean")
    assert helped is not None
    assert helped.now > helped.measured[0][1] + 5
    assert helped.gain > 0
    assert helped.interval[0] < helped.gain < helped.interval[1]
    pure = torch.randn(32, 32)
    nothing = growth(pure, labels, way=4, rule="mean")
    assert nothing is not None
    assert nothing.interval[0] < 0 < nothing.interval[1]
    assert abs(nothing.now - 25) < 15
    assert growth(pure[:10, :10], torch.arange(5).repeat_interleave(2), way=5, rule="mean") is None


def test_copies_see_through_an_encoding_and_not_through_another_take(tmp_path: Path) -> None:
    model = default_model()
    frames = draw_clip(3, 5200, 0, frames=24, size=224)
    again = np.clip(frames.astype(np.float32) * 0.95 + 8, 0, 255).astype(np.uint8)
    write_video(tmp_path / "a.mp4", frames)
    write_video(tmp_path / "b.avi", again[:, ::2, ::2], fps=7)
    write_video(tmp_path / "c.mp4", draw_clip(3, 5200, 1, frames=24, size=224, studio=0))
    write_video(tmp_path / "d.mp4", draw_clip(3, 5200, 2, frames=24, size=224, studio=0))
    write_video(tmp_path / "e.mp4", frames[::-1])
    files = sorted(tmp_path.iterdir())
    shown = torch.stack(
        [torch.from_numpy(read_clip(f, model.preprocess).frames[:, ::3, ::3].copy()) for f in files]
    )
    distances = clip_distances(shown)
    assert distances[0, 1] < SAME / 2
    apart = distances[0, 2:].tolist() + distances[2, 3:].tolist()
    assert min(apart) > 2 * SAME
    torch.testing.assert_close(distances, distances.mT)


def test_same_files_and_folders(tmp_path: Path) -> None:
    for name, content in (("a.mp4", b"1"), ("b.mp4", b"2"), ("c.mp4", b"1"), ("d.mp4", b"1")):
        (tmp_path / name).write_bytes(content)
    for name, content in (("e", b"x"), ("f", b"x"), ("g", b"y")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(content)
    assert same_files(sorted(tmp_path.iterdir())) == [(0, 2), (0, 3), (4, 5)]


def test_the_command_line(
    planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bank", "check", str(planted)]) == 1
    text = capsys.readouterr().out
    for words in (
        "broken",
        "near-duplicate",
        "same file",
        "third/small.avi",
        "3 classes, 17 clips",
    ):
        assert words in text
    data = three_classes(tmp_path / "data")
    saved = build_bank(data, model=default_model()).save(tmp_path / "bank.safetensors")
    code = main(["bank", "check", str(saved)])
    text = capsys.readouterr().out
    assert "not enough clips; 4 of every class are needed and 'back' has 3" in text
    assert code == (0 if "nothing to act on" in text else 1)
    assert main(["bank", "check", str(saved), "--json"]) == code
    report = json.loads(capsys.readouterr().out)
    assert report["counts"] == {"back": 3, "right": 3, "still": 3}
    assert report["model"] == "a2m2-lite0"
    assert (report["findings"] != []) == (code == 1)
    assert main(["bank", "check", str(tmp_path / "nowhere")]) == 2
    assert "not a folder" in capsys.readouterr().err


def test_folders_that_cannot_be_checked(tmp_path: Path) -> None:
    model = default_model()
    draw_video(tmp_path / "a" / "0.mp4")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "0.mp4").write_bytes(b"no clip")
    report = check_supports(tmp_path, model=model)
    assert any("class 'b': no clip of it can be read" in note for note in report.notes)
    assert any(note.startswith("labels: not enough clips") for note in report.notes)
    assert report.growth is None
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(EpisodeError, match=r"no clip in .* can be read"):
        check_supports(tmp_path, model=model)


def test_growth_under_ridge_asks_the_clips_that_are_left() -> None:
    """Clear classes are told by one support each; noise is told by none."""
    torch.manual_seed(3)
    labels = torch.arange(3).repeat_interleave(torch.tensor([4, 5, 7]))
    clear = (labels[:, None] == labels).double() + 0.01 * torch.randn(16, 16)
    found = growth(clear, labels, way=3, rule="ridge")
    assert found is not None
    assert [shot for shot, _ in found.measured] == [1, 2, 3]
    assert all(accuracy > 99 for _, accuracy in found.measured)
    noise = growth(torch.randn(16, 16).double(), labels, way=3, rule="ridge")
    assert noise is not None
    assert all(accuracy < 70 for _, accuracy in noise.measured)
    again = growth(clear, labels, way=3, rule="ridge")
    assert again == found
