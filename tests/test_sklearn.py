"""The transformer for scikit-learn: held to scikit-learn's own checks, and used as people do."""

from __future__ import annotations

import pickle
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from makers import draw_video, still, three_classes
from makers_models import tiny_model
from PIL import Image
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import validate_data

from a2m2_zoo import load_model
from a2m2_zoo.errors import ArgumentError, VideoError
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.sklearn import ClipEmbedder


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = three_classes(tmp_path_factory.mktemp("clips"))
    return [root / "right" / "r0.mp4", root / "right" / "r1.mp4", root / "still" / "s0.mp4"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(tiny_model(tmp_path_factory.mktemp("tiny")))


class OfRows(ClipEmbedder):
    """The checks bring rows of numbers: each is drawn as a clip of its own."""

    def _clips(self, X: object, *, fitting: bool) -> list[np.ndarray]:
        rows = validate_data(self, X, reset=fitting)
        marks = [sha256(np.ascontiguousarray(row, float)).digest()[:8] for row in rows]
        seeds = [int.from_bytes(mark, "big") for mark in marks]
        draw = np.random.default_rng
        return [draw(s).integers(0, 255, (4, 16, 16, 3), np.uint8) for s in seeds]

    def __sklearn_tags__(self) -> object:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string = True, False
        tags.no_validation = False
        return tags


def test_it_passes_the_checks_of_scikit_learn(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path)
    for output in ("pooled", "similarity"):
        results = check_estimator(
            OfRows(folder, output=output),
            legacy=output == "pooled",  # all of them; the others are of the interface
            expected_failed_checks={},  # none needs to fail
            on_skip=None,
        )
        skipped = {r["check_name"] for r in results if r["status"] != "passed"}
        # The array API is asked for by a variable of SciPy's, which nobody has set.
        assert skipped <= {"check_array_api_input"}
        assert len(results) > (40 if output == "pooled" else 12)


def test_it_takes_clips_in_the_forms_of_tables(tiny: Model, clips: list[Path]) -> None:
    want = tiny.embed(clips).numpy()
    names = list(map(str, clips))
    frame = pd.DataFrame({"clip": names})
    made = ClipEmbedder(tiny).fit(names)
    for X in (clips, names, frame["clip"], frame, frame.to_numpy(), np.array(names)):
        assert np.array_equal(made.transform(X), want)
    table = made.set_output(transform="pandas").transform(frame)
    assert list(table.columns[:2]) == ["clipembedder0", "clipembedder1"]
    for bad in (names[0], 3, [], pd.DataFrame({"a": names, "b": names}), np.zeros((2, 3))):
        with pytest.raises(ArgumentError, match=r"X (is no|has)"):
            made.transform(bad)


def test_a_pipeline_answers_a_new_clip(tiny: Model, tmp_path: Path) -> None:
    folder = tiny_model(tmp_path)
    X = [draw_video(tmp_path / f"m{i}.mp4", 12 + i, speed=5) for i in range(4)]
    X += [still(tmp_path / f"s{i}.mp4", 12 + i) for i in range(4)]
    y = ["move"] * 4 + ["still"] * 4
    plain = make_pipeline(ClipEmbedder(folder), LogisticRegression(C=1e3))
    kernel = make_pipeline(ClipEmbedder(folder, output="similarity"), SVC(kernel="precomputed"))
    alike = ClipEmbedder(folder, output="similarity")
    assert np.array_equal(alike.fit_transform(X), alike.transform(X))
    for made in (plain, kernel):
        assert list(made.fit(X, y).predict(X)) == y
        assert list(pickle.loads(pickle.dumps(made)).predict(X)) == y
    found = GridSearchCV(plain, {"logisticregression__C": [1, 1e3]}, cv=2).fit(X, y)
    assert found.best_score_ == 1.0


def test_what_it_refuses(tiny: Model, clips: list[Path], tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        ClipEmbedder(tiny).transform(clips)
    for options in ({"output": "all"}, {"unreadable": "skip"}):
        with pytest.raises(ArgumentError, match=r"expected 'pooled' or|expected 'raise' or"):
            ClipEmbedder(tiny, **options).fit(clips)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no clip")
    made = ClipEmbedder(tiny, unreadable="nan").fit(clips)
    rows = made.transform([broken, *clips])
    assert np.isnan(rows[0]).all()
    assert np.array_equal(rows[1:], made.transform(clips))
    assert np.isnan(made.transform([broken])).all()
    with pytest.raises(VideoError, match=r"broken\.mp4"):
        ClipEmbedder(tiny).fit(clips).transform([broken])
    made.set_params(model=load_model("protonet-lite0"))
    with pytest.raises(ArgumentError, match="fit it again"):
        made.transform(clips)


def test_one_clip_and_clips_without_an_order_are_refused(tiny: Model, clips: list[Path]) -> None:
    clip = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), np.uint8)
    pictures = [Image.fromarray(frame) for frame in clip]
    for output in ("pooled", "similarity"):
        for given in (clip, pictures, list(clip)):
            with pytest.raises(ArgumentError, match="X is one clip; expected a list of clips"):
                ClipEmbedder(tiny, output=output).fit_transform(given)
    with pytest.raises(ArgumentError, match="X is a set, which has no order"):
        ClipEmbedder(tiny).fit({str(path) for path in clips})
    assert len(ClipEmbedder(tiny).fit_transform([clip, pictures])) == 2
    assert len(ClipEmbedder(tiny).fit_transform(np.stack([clip, clip]))) == 2


def test_an_output_that_changed_since_is_told(tiny: Model, clips: list[Path]) -> None:
    for one, other in (("similarity", "pooled"), ("pooled", "similarity")):
        fitted = ClipEmbedder(tiny, output=one).fit(clips).set_params(output=other)
        with pytest.raises(ArgumentError, match=f"fitted with output='{one}'.*fit it again"):
            fitted.transform(clips)
