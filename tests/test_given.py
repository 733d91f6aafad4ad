"""What Python callers give: each gets what it means, or one line that says what is expected."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from makers import draw_video, three_classes

from a2m2_zoo import (
    Episode,
    Prediction,
    Stream,
    SupportBank,
    build_bank,
    build_episode,
    classify,
    load_model,
    spot,
)
from a2m2_zoo._utils.cores import threads
from a2m2_zoo.api import iter_classify
from a2m2_zoo.errors import A2M2Error, ArgumentError, BankError, SaveError, VideoError
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.synthetic import draw_named
from a2m2_zoo.video import Limits, Preprocess, read_clip
from a2m2_zoo.zoo.choose import default_model

pytestmark = pytest.mark.usefixtures("seen_once")

SPEC = Preprocess(frames=4, resize=32, size=32)
FRAMES = draw_named("wave", 0, frames=12, size=64)


@pytest.fixture(scope="module")
def model() -> Model:
    return default_model()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return three_classes(tmp_path_factory.mktemp("given"))


@pytest.fixture(scope="module")
def bank(data: Path, model: Model) -> SupportBank:
    return build_bank({p.name: sorted(p.glob("*.mp4"))[:1] for p in data.iterdir()}, model=model)


class Image:
    """The few things of an image of PIL that are used."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array, self.mode, self.size = array, "RGB", array.shape[1::-1]

    def getpixel(self, place: tuple[int, int]) -> tuple[int, ...]:
        return tuple(self.array[place])

    def convert(self, mode: str) -> np.ndarray[Any, Any]:
        assert mode == "RGB"
        return self.array


class Table:
    """A data frame, as far as it is looked at."""

    columns = ("path", "label")
    ndim = 2
    shape = (3, 2)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)


@pytest.mark.parametrize(
    "given",
    [
        list(FRAMES),
        tuple(FRAMES),
        [Image(frame) for frame in FRAMES],
        [torch.from_numpy(frame) for frame in FRAMES],
        torch.from_numpy(FRAMES),
        torch.from_numpy(FRAMES).requires_grad_(False),
        FRAMES[::1],
        np.asfortranarray(FRAMES),
    ],
    ids=["list", "tuple", "images", "tensors", "tensor", "detached", "view", "fortran"],
)
def test_pictures_in_a_list_are_one_clip(given: Any) -> None:
    assert np.array_equal(read_clip(given, SPEC).frames, read_clip(FRAMES, SPEC).frames)


def test_a_frame_of_pyav_is_a_picture(tmp_path: Path) -> None:
    import av

    pictures = [av.VideoFrame.from_ndarray(frame, "rgb24") for frame in FRAMES]
    assert np.array_equal(read_clip(pictures, SPEC).frames, read_clip(FRAMES, SPEC).frames)


def test_paths_of_every_kind(data: Path) -> None:
    path = data / "right" / "r0.mp4"

    class Like:
        def __fspath__(self) -> str:
            return str(path)

    want = read_clip(path, SPEC)
    for given in (str(path), bytes(path), Like(), np.str_(path)):
        clip = read_clip(given, SPEC)
        assert np.array_equal(clip.frames, want.frames)
        assert clip.source == str(path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (FRAMES[0], r"shape \(64, 64, 3\), uint8, one picture: give RGB frames"),
        (FRAMES.astype(np.float32) / 255, "float32, not bytes: turn values from"),
        (torch.from_numpy(FRAMES).half(), "float16, not bytes"),
        (torch.from_numpy(FRAMES).bfloat16(), "bfloat16, not bytes"),
        (FRAMES / 255, 'float64, not bytes: .*, or say layout="THWC 0..1"'),
        (FRAMES.transpose(0, 3, 1, 2), r"which is \(T, C, H, W\): .* permute\(0, 2, 3, 1\)"),
        (FRAMES.transpose(3, 0, 1, 2), r"which is \(C, T, H, W\): .* permute\(1, 2, 3, 0\)"),
        (FRAMES.transpose(0, 3, 1, 2), ', or say layout="TCHW" to what takes'),
        (FRAMES.transpose(3, 0, 1, 2) / 255, 'not bytes: .*, or say layout="CTHW 0..1"'),
        (np.concatenate([FRAMES, FRAMES[..., :1]], -1), "with four channels: leave out the last"),
        (FRAMES[..., :1], "which is grey"),
        (FRAMES[..., 0], r"shape \(12, 64, 64\), uint8, pictures without channels"),
        (FRAMES[:0], "give at least one frame"),
        (FRAMES[None], "a batch of clips"),
        (torch.empty(4, 8, 8, 3, dtype=torch.uint8, device="meta"), "no array"),
        ([FRAMES[0], FRAMES[0][:32]], r"pictures of \(64, 64\) and \(32, 64\) pixels in one clip"),
        ([f.astype(np.float64) for f in FRAMES], "a picture with .* float64, not bytes"),
        ([f.transpose(2, 0, 1) for f in FRAMES], "a picture with .* give RGB pictures"),
        (Image(FRAMES[0]), "one picture is no clip: give a list of pictures"),
        ([], "a list without a picture is no clip"),
        (["a.mp4", "b.mp4"], "a list of str and so on is no clip"),
        (None, "None: nothing that can be read: give a path"),
        (7, "the number 7: nothing that can be read"),
        ({"a": 1}, "a dict: nothing that can be read"),
        (b"\0\0\0\x18ftypmp42", "bytes that are no path: write a video's bytes to a file"),
        ("", "an empty path"),
        ("ftp://example.org/a.mp4", "such addresses are not read: give a path, s3://"),
        (Path("ftp://example.org/a.mp4"), "such addresses are not read"),
        ("rtsp://camera/1", r"such addresses are not read: .*watch, spot: rtsp://"),
        ("file:///clips/a.mp4", "give the path without file://"),
        ("C:/videos/a.mp4", "no such file or folder: check the path"),
    ],
)
def test_what_is_no_clip_is_said_in_one_line(given: Any, message: str) -> None:
    with pytest.raises(VideoError, match=message) as caught:
        read_clip(given, SPEC)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (None, "query is None; expected a path of a video"),
        (3, "query is the number 3; expected"),
        (True, "query is the value True; expected"),
        ({"a": "x.mp4"}, r"query is a dict; .* come first, then the supports"),
        ({"x.mp4"}, "query is a set, which has no order"),
        (Table(), "query is a .*Table; expected one column of it"),
        (io.BytesIO(b"clip"), "query is a BytesIO, an open file; expected its path"),
        (np.arange(3), r"query is a numpy ndarray: shape \(3,\), int64; expected"),
        (np.array("a.mp4"), r"query is a numpy ndarray: shape \(\), <U5; expected"),
        (Image(FRAMES[0]), "query is an? .*Image: one picture; expected .* list of pictures"),
        (FRAMES[0], r"query is a numpy ndarray: shape .*, one picture; expected"),
        (bytearray(b"clip"), "query is a bytearray; .* write a video's bytes to a file"),
        (memoryview(b"clip"), "query is a memoryview; .* write a video's bytes to a file"),
        ("saved.safetensors", "query is 'saved.safetensors'; .* come first, then the supports"),
        (Episode(("a", "b"), ("1", "2"), (0, 1)), "query is an Episode; .*e.queries"),
        (object(), "query is an object; expected"),
    ],
)
def test_queries_that_are_none(bank: SupportBank, model: Model, query: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        classify(query, bank, model=model)
    assert "\n" not in str(caught.value)


def test_swapped_arguments_are_named(bank: SupportBank, model: Model, data: Path) -> None:
    clip = data / "right" / "r0.mp4"
    with pytest.raises(ArgumentError, match=r"query is a SupportBank; .* come first"):
        classify(bank, clip, model=model)
    with pytest.raises(ArgumentError, match=r"supports is '.*r0.mp4', a clip; .* come first"):
        classify(data, clip, model=model)
    with pytest.raises(ArgumentError, match=r"supports is '.*r0.mp4', a clip"):
        classify(clip, clip, model=model)


@pytest.mark.parametrize(
    ("supports", "error", "message"),
    [
        (None, ArgumentError, "clips are given as None; expected a folder"),
        (["a.mp4"], ArgumentError, "clips are given as a list"),
        (Table(), ArgumentError, "clips are given as a .*Table"),
        ({1: ["a.mp4"], 2: ["b.mp4"]}, ArgumentError, "a class is named by the number 1"),
        ({"a": None, "b": ["x"]}, ArgumentError, "class 'a' is None; expected"),
        ({"a": {"x"}, "b": ["x"]}, ArgumentError, "class 'a' is a set, which has no order"),
        ({"a": {"x": 1}, "b": ["x"]}, ArgumentError, "class 'a' is a dict"),
        ({"a": "x.mp4", "b": ["x"]}, VideoError, "x.mp4: no such file or folder"),
        (
            {"a": "no*such.mp4", "b": ["x"]},
            VideoError,
            "such.mp4: no such file or folder, and nothing matches",
        ),
        ({"a": [None], "b": ["x"]}, VideoError, "None: nothing that can be read"),
        ("ftp://example.org/bank.safetensors", ArgumentError, "such addresses are not read"),
        ("https://example.org/a.mp4", ArgumentError, r"'https://.*', a clip; expected a folder"),
        (Path("rtsp://camera/1"), ArgumentError, "such addresses are not read"),
        ("x" * 5000, BankError, "File name too long"),
        (b"\0clip", VideoError, "the supports is 5 bytes that are no path"),
    ],
)
def test_supports_that_are_none(
    model: Model, supports: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        classify(FRAMES, supports, model=model)
    assert "\n" not in str(caught.value)


def test_clips_come_from_whatever_gives_clips(data: Path, bank: SupportBank, model: Model) -> None:
    paths = [str(data / "right" / "r0.mp4"), str(data / "back" / "b0.mp4")]
    want = [answer.probabilities for answer in classify(paths, bank, model=model)]
    for given in (
        tuple(paths),
        iter(paths),
        (path for path in paths),
        np.array(paths),
        np.array(paths, dtype=object),
        dict.fromkeys(paths).keys(),
        {"a": paths[0], "b": paths[1]}.values(),
    ):
        for batch in (1, 3):
            again = given if not isinstance(given, Iterator) else iter(list(given) or paths)
            found = classify(again, bank, model=model, batch_size=batch)
            assert [answer.probabilities for answer in found] == want
    pair = np.stack([FRAMES, FRAMES[::-1]])
    assert len(classify(pair, bank, model=model)) == 2
    assert isinstance(classify(list(FRAMES), bank, model=model), Prediction)
    assert classify([], bank, model=model) == []
    one = classify(np.array([data / "right" / "r0.mp4"]), bank, model=model)
    assert [answer.probabilities for answer in one] == want[:1]


def test_a_generator_of_queries_streams(bank: SupportBank, model: Model) -> None:
    drawn = []

    def endless() -> Iterator[Any]:
        while True:
            drawn.append(threading.get_ident())
            yield FRAMES

    answers = iter_classify(endless(), bank, model=model, batch_size=2, workers=1)
    for _ in range(3):
        assert isinstance(next(answers), Prediction)
    answers.close()  # type: ignore[attr-defined]
    # Two are being read, one has been and waits, and one more than there are threads is at work.
    assert len(drawn) <= 3 + 2 + 1 + threads() + 1
    assert set(drawn) == {threading.get_ident()}


def test_one_bad_item_keeps_its_place(bank: SupportBank, model: Model) -> None:
    given = [FRAMES, None, ["a.mp4"], FRAMES, "https://example.org/a.mp4"]
    found = classify(given, bank, model=model, on_error="return", batch_size=3)
    assert [isinstance(answer, Prediction) for answer in found] == [True, False, False, True, False]
    assert all(isinstance(found[i], VideoError) for i in (1, 2, 4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": "2"}, "top_k is '2'; expected an integer of 1 or more"),
        ({"top_k": 1.5}, "top_k is 1.5"),
        ({"top_k": True}, "top_k is True"),
        ({"batch_size": "4"}, "batch_size is '4'"),
        ({"workers": "4"}, "workers is '4'"),
        ({"workers": np.bool_(True)}, "workers is .*True"),
        ({"reject_below": "0.5"}, "reject_below is '0.5'; expected a probability, 0 to 1"),
        ({"reject_below": True}, "reject_below is True"),
        ({"reject_below": float("nan")}, "reject_below is nan"),
        ({"reject_below": 1 + 0j}, "reject_below is"),
        ({"reject_below": 10**400}, "reject_below is 10.*; expected a probability"),
        ({"limits": {"frames": 10**400}}, "frames=10.*: give a number above 0"),
        ({"model": ""}, "model is an empty text; expected"),
        ({"text_weight": "0.5"}, "text_weight is '0.5'"),
        ({"limits": 5}, "limits is the number 5; expected a2m2_zoo.video.Limits"),
        ({"limits": {"second": 5}}, "limits has the key 'second'; expected megapixels, frames"),
        ({"limits": {"seconds": "5"}}, "seconds='5': give a number above 0"),
        ({"model": 3}, "model is the number 3; expected what load_model gives"),
        ({"model": torch.nn.Linear(1, 1)}, "model is a torch Linear; expected"),
    ],
)
def test_options_of_another_kind(
    bank: SupportBank, model: Model, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        classify([FRAMES], bank, **{"model": model, **options})


def test_options_of_numpy_and_limits_by_name(bank: SupportBank, model: Model) -> None:
    plain = classify(FRAMES, bank, model=model, top_k=2, reject_below=0.5)
    found = classify(
        FRAMES,
        bank,
        model=model,
        top_k=np.int64(2),
        reject_below=np.float32(0.5),
        batch_size=10**30,
        workers=np.int32(1),
        limits={"seconds": np.float32(30), "frames": np.int64(100)},
    )
    assert (found.probabilities, found.rejected) == (plain.probabilities, plain.rejected)
    with pytest.raises(VideoError, match="megapixels"):
        classify(FRAMES, bank, model=model, limits={"megapixels": 0.001})
    assert read_clip(FRAMES, SPEC, limits=None).count == 12  # type: ignore[arg-type]
    assert read_clip(FRAMES, SPEC, limits=Limits(frames=20)).count == 12


def test_a_model_goes_by_its_name_or_path(
    data: Path, bank: SupportBank, model: Model, tmp_path: Path
) -> None:
    want = classify(FRAMES, bank, model=model).probabilities
    assert classify(FRAMES, bank, model=model.id).probabilities == want
    model.save(tmp_path / "m.safetensors")
    mapping = {p.name: sorted(p.glob("*.mp4"))[:1] for p in data.iterdir()}
    saved = tmp_path / "m.safetensors"
    assert classify(FRAMES, mapping, model=saved).label == classify(FRAMES, bank).label
    with pytest.raises(A2M2Error, match="nonsense"):
        classify(FRAMES, bank, model="nonsense")


def test_a_bank_takes_one_name_and_says_how_clips_are_added(
    bank: SupportBank, data: Path, tmp_path: Path
) -> None:
    assert bank.remove("back").class_names == ("right", "still")
    assert bank.remove({"back"}).class_names == ("right", "still")
    assert bank.remove(iter(["back"])).class_names == ("right", "still")
    with pytest.raises(BankError, match="the bank has no class 'kick'; it has back, right"):
        bank.remove("kick")
    with pytest.raises(BankError, match="no class 'kick', 3"):
        bank.remove(["kick", 3])  # type: ignore[list-item]
    for given in (None, 3, b"back"):
        with pytest.raises(ArgumentError, match=r"remove was given .*; expected names of classes"):
            bank.remove(given)  # type: ignore[arg-type]
    for given in (data, str(data), None, {"a": ["x"]}):
        with pytest.raises(ArgumentError, match=r"expected a SupportBank: bank.add.build_bank"):
            bank.add(given)  # type: ignore[arg-type]
    for call in (SupportBank.load, bank.save):
        with pytest.raises(ArgumentError, match=r"the bank.* is None; expected"):
            call(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a.mp4"], "encode was given a list with a str; expected decoded clips, .read_clip"),
        ("a.mp4", "encode was given a str; expected decoded clips"),
        ([], "encode was given no clip"),
        (None, "encode was given None; expected decoded clips"),
        ([FRAMES], "encode was given a list with a numpy ndarray"),
        (FRAMES, "encode was given a numpy ndarray"),
    ],
)
def test_encode_takes_decoded_clips(model: Model, given: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        model.encode(given)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: load_model(None), "the model is None; expected its name"),  # type: ignore[arg-type]
        (lambda: load_model(device=None), "device is None; expected 'auto'"),  # type: ignore[arg-type]
        (lambda: load_model(dtype="float16"), "dtype is 'float16'; expected torch.float32"),  # type: ignore[arg-type]
        (lambda: load_model(dtype=torch.int8), "dtype is torch.int8"),
        (lambda: build_bank(None), "clips are given as None"),  # type: ignore[arg-type]
        (lambda: build_episode({"a": ["1"]}, way="2"), "way is '2'; expected an integer"),  # type: ignore[arg-type]
        (
            lambda: build_episode({"a": ["1", "2"]}, way=1, seed="x"),
            "seed is 'x'; expected an integer",
        ),  # type: ignore[arg-type]
        (lambda: default_model().save(None), "the checkpoint's file is None; expected a path"),  # type: ignore[arg-type]
        (lambda: SupportBank.load(b"\0" * 9), "the bank is 9 bytes that are no path"),
        (lambda: SupportBank.load(""), "the bank is an empty text; expected"),
        (lambda: spot(b"\0clip", SupportBank), "video is 5 bytes that are no path"),  # type: ignore[arg-type]
        (lambda: build_episode({"a": ["1"]}, shot=None), "shot is None; expected an integer"),  # type: ignore[arg-type]
    ],
)
def test_other_verbs(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()


def test_places_where_nothing_can_be(bank: SupportBank, model: Model) -> None:
    with pytest.raises(SaveError, match="its name holds a zero byte"):
        bank.save("a\0b")
    with pytest.raises(BankError, match="such addresses are not read"):
        SupportBank.load("ftp://example.org/a.safetensors")
    with pytest.raises(VideoError, match="web servers have no folders: give a bank"):
        build_bank("https://example.org/clips", model=model)
    with pytest.raises(VideoError, match="no such file"):
        spot("x" * 5000, bank, model=model)


def test_queries_of_an_episode_are_clips_too() -> None:
    supports = {"a": ["1"], "b": ["2"]}
    assert build_episode(supports=supports, queries="q.mp4").queries == ("q.mp4",)
    assert build_episode(supports=supports, queries=iter(["p", "q"])).queries == ("p", "q")
    assert len(build_episode(supports=supports, queries=list(FRAMES)).queries) == 1
    with pytest.raises(ArgumentError, match="queries is a set"):
        build_episode(supports=supports, queries={"q"})


def test_spotting_says_it_too(bank: SupportBank, model: Model, tmp_path: Path) -> None:
    video = draw_video(tmp_path / "v.mp4")
    for options, message in (
        ({"window": "2"}, "window is '2'; expected seconds above 0"),
        ({"window": [1.0, None]}, "window is None"),
        ({"stride": "1"}, "stride is '1'; expected seconds above 0"),
        ({"reject_below": "0.5"}, "reject_below is '0.5'"),
        ({"limits": {"second": 1}}, "limits has the key 'second'"),
    ):
        with pytest.raises(ArgumentError, match=message):
            spot(video, bank, model=model, **options)
    for given in (None, [video], FRAMES):
        with pytest.raises(ArgumentError, match=r"video is .*; expected the path of one video"):
            spot(given, bank, model=model)  # type: ignore[arg-type]
    with pytest.raises(VideoError, match="such addresses are not read"):
        spot("rtmp://camera/1", bank, model=model)
    with pytest.raises(BankError, match="there is no support clip"):
        Stream(model, {})
    with pytest.raises(ArgumentError, match="expected a folder with one folder per class"):
        Stream(model, 3)  # type: ignore[arg-type]
    saved, clips = bank.save(tmp_path / "bank.safetensors"), {"a": FRAMES, "b": FRAMES[::-1].copy()}
    assert Stream(None, str(saved)).grid == Stream(model, bank).grid
    assert Stream(model, {name: [clip] for name, clip in clips.items()}).grid.frames == 8
    assert Stream(model.id, bank, window=np.float32(2)).grid.frames == 8
