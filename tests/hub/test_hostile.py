"""A hostile endpoint: nothing that it sends becomes a path, a size, an address for the token or a wait."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest
from hub_server import COMMIT, TOKEN, Fault, Hub, Repo
from hub_uploads import Uploads
from makers_models import tiny_model

from a2m2_zoo.cli import main
from a2m2_zoo.errors import FetchError, PublishError
from a2m2_zoo.hub import _guard
from a2m2_zoo.hub.fetch import fetch
from a2m2_zoo.hub.source import Source
from a2m2_zoo.zoo.publish import Description, publish

DATA = random.Random(0).randbytes(50_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
NAME = "model.safetensors"
SOURCE = Source(NAME, "org/name", COMMIT)
MINE = f"hf-hub:org/name@{COMMIT}"

#: What the server says instead of the truth → what our line says of it. ``{tmp}`` is a folder to write to.
LIES: dict[str, tuple[dict[str, str | None], str]] = {
    **{
        f"{header} {value}": ({header: value, **more}, f"{header} is")
        for header, more in (("X-Linked-Etag", {}), ("ETag", {"X-Linked-Etag": None}))
        for value in (
            '"{tmp}/home/.config/autostart/x.desktop"', '"~/.bashrc"', '"../../../../../x"', "../x",
            'W/"../x"', '"."', '"..', '"5f3c-1a"', f'"{SHA256}/../x"', f'"{SHA256.upper()}"', '"C:\\x"',
            f'"{SHA256}", "x"', '"a' * 3000 + '"',
        )
    },
    **{
        f"commit {value}": ({"X-Repo-Commit": value}, "X-Repo-Commit is")
        for value in ("../../x", "{tmp}/x", "main", COMMIT + "/..", "f" * 40, COMMIT.upper())
    },
    **{
        f"size {value}": ({"X-Linked-Size": value}, said)
        for value, said in (
            ("-1", "X-Linked-Size is"), ("1e9", "X-Linked-Size is"), ("9" * 400, "X-Linked-Size is"),
            ("99999999999999", "the limit is"),
        )
    },
    **{
        f"location {value}": ({"Location": value}, "Location is")
        for value in (
            "file:///etc/passwd", "ftp://localhost/x", "http://a:b@localhost/x", "http://[", "http://h:x/",
        )
    },
    "xet hash": ({"X-Xet-Hash": "../x"}, "X-Xet-Hash is"),
    "xet route": (
        {"X-Xet-Hash": "ab" * 32, "X-Xet-Refresh-Route": "http://localhost:9/token"},
        "X-Xet-Refresh-Route is",
    ),
    "xet link": ({"Link": '<http://localhost:9/token>; rel="xet-auth"'}, "X-Xet-Refresh-Route is"),
    "compression": ({"Content-Encoding": "br"}, "Content-Encoding is"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def place(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["org/name"] = Repo({COMMIT: {NAME: DATA}}, head=COMMIT)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)


def written(folder: Path) -> set[str]:
    """Files that lie in the folder, those of the token and of the test aside."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}


def refused() -> str:
    with pytest.raises(FetchError) as caught:
        fetch(SOURCE, root=Path("nowhere"))
    said = str(caught.value)
    assert said.isprintable()
    assert TOKEN not in said
    assert len(said) < 600
    return said


@pytest.mark.parametrize("honest", [0, 1], ids=["first answer", "second answer"])
def test_no_answer_becomes_a_path(hub: Hub, tmp_path: Path, honest: int) -> None:
    """The client asks twice, and a hostile server may wait for the second time."""
    for lie, (headers, line) in LIES.items():
        lies = {k: v and v.replace("{tmp}", str(tmp_path)) for k, v in headers.items()}
        hub.faults = [Fault("HEAD")] * honest + [Fault("HEAD", lies=lies)] * 4
        said = refused()
        assert line in said, lie
        assert "cannot fetch 'model.safetensors' of org/name" in said, lie
        assert hub.count("GET") == 0, lie
        assert written(tmp_path) == set(), lie


@pytest.mark.parametrize(
    "etag", [f'"{SHA256}"', SHA256, f'W/"{SHA256}"', '"' + "ab" * 20 + '"'], ids=str
)
def test_names_that_the_hub_gives_are_taken(hub: Hub, etag: str) -> None:
    hub.faults = [Fault("HEAD", lies={"ETag": etag, "X-Linked-Etag": None})] * 2
    path = fetch(SOURCE, root=Path("nowhere"), sha256=SHA256)
    assert path.read_bytes() == DATA
    assert path.resolve().name == etag.strip('W/"')


def test_a_file_that_is_not_there_leaves_no_mark_elsewhere(hub: Hub, tmp_path: Path) -> None:
    headers = {"X-Repo-Commit": str(tmp_path / "x")}
    missing = Fault("HEAD", status=404, code="EntryNotFound", headers=headers)
    hub.faults = [Fault("HEAD"), missing]
    assert "X-Repo-Commit is" in refused()
    assert written(tmp_path) == set()


def test_redirects_have_an_etag_of_their_own_and_an_end(hub: Hub, tmp_path: Path) -> None:
    hub.cdn = True
    hub.faults = [Fault("HEAD", lies={"ETag": 'W/"5c-x"'})] * 2
    assert fetch(SOURCE, root=Path("nowhere"), sha256=SHA256).read_bytes() == DATA
    hub.repos["org/name"].files[COMMIT]["b.safetensors"] = DATA
    other = Source("b.safetensors", "org/name", COMMIT)
    before = written(tmp_path)
    hostile: list[dict[str, str | None]] = [
        {"ETag": '"../x"', "X-Linked-Etag": None},
        {"Location": f"/org/name/resolve/{COMMIT}/b.safetensors"},
    ]
    for lies in hostile:
        hub.faults = [Fault("HEAD", lies=lies)] * 500
        with pytest.raises(FetchError):
            fetch(other, root=Path("nowhere"))
        assert hub.count() < 200
    assert written(tmp_path) == before


def test_the_token_stays_with_the_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever leads elsewhere, be it a client that forgets to take the token off."""
    import huggingface_hub

    other = f"http://localhost:{hub.server_port}/org/name/resolve/{COMMIT}/{NAME}"
    _guard.guard()
    with pytest.raises(FetchError, match=r"the token to another host \(localhost:"):
        huggingface_hub.get_hf_file_metadata(other, token=TOKEN, **_guard.OURS)
    assert hub.count() == 0
    huggingface_hub.get_hf_file_metadata(other, token=TOKEN)  # somebody else's request is not ours
    assert hub.seen[0].authorization == f"Bearer {TOKEN}"


def test_a_file_without_end_is_cut_off(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_guard, "MAX_BYTES", 200_000)
    hub.faults = [Fault(endless=True, lies={"Connection": "close"})] * 20
    assert "sent more than 200,000 bytes" in refused()
    assert hub.count("GET") == 1
    assert written(tmp_path) == set() or not list((tmp_path / "hf").rglob(NAME))


def test_compressed_files_are_counted_by_what_they_may_become(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_guard, "MAX_BYTES", 200_000)
    hub.faults = [Fault(lies={"Content-Encoding": "gzip"})] * 20
    assert "sent more than 181 bytes" in refused()


@pytest.mark.parametrize(
    "headers", [{"Retry-After": "9999999"}, {"ratelimit": '"api";r=0;t=9999999'}], ids=str
)
def test_waits_are_bounded(hub: Hub, naps: list[float], headers: dict[str, str]) -> None:
    hub.faults = [Fault("HEAD", status=429, headers=headers)] * 100
    assert "(429)" in refused()
    assert sum(naps) < 300


def test_a_session_made_anew_is_watched_too(hub: Hub, tmp_path: Path) -> None:
    from huggingface_hub import close_session

    _guard.guard()
    close_session()  # as the client does after a failure to connect
    hub.faults = [Fault("HEAD", lies={"X-Linked-Etag": '"../x"'})]
    assert "X-Linked-Etag is" in refused()
    assert written(tmp_path) == set()


def test_every_door_refuses(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from a2m2_zoo import load_model

    lie = [Fault("HEAD", lies={"X-Linked-Etag": f'"{tmp_path}/home/x"'})]
    hub.faults = lie * 10
    with pytest.raises(FetchError, match="X-Linked-Etag is"):
        load_model(MINE)
    assert main(["models", "pull", MINE]) == 1
    assert main(["classify", "q.mp4", "--supports", "s", "--model", MINE]) == 1
    for line in capsys.readouterr().err.splitlines():
        assert line.startswith("a2m2: cannot fetch 'model.safetensors' of org/name")
    assert written(tmp_path) == set()


HOSTILE_ANSWERS: list[Any] = [
    [], "text", 5, None, {}, {"sha": "../../x"}, {"sha": 5}, {"sha": COMMIT, "id": 7, "siblings": "ab"},
    {"sha": COMMIT, "id": "x", "siblings": [{}]},
]  # fmt: skip


def test_answers_of_another_form_end_publishing_in_a_line(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer: Any = None
    monkeypatch.setattr(
        "hub_uploads.Uploads.describe", lambda self, *_: self.answer(200, answer), raising=True
    )
    model, what = tiny_model(tmp_path), Description("apache-2.0", "Drawn clips.")
    before = written(tmp_path)
    for turn, answer in enumerate(HOSTILE_ANSWERS):
        with pytest.raises(PublishError) as caught:
            publish(model, "org/name", what)
        assert str(caught.value).isprintable(), answer
        dry = tmp_path / f"dry{turn}"
        shown = publish(model, "org/name", what, dry_run=dry)
        assert "not compared" in shown.difference, answer
        before |= {f"{dry.name}/{name}" for name in written(dry)}
        assert written(tmp_path) == before, answer


def test_reading_back_what_was_published(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del hub.repos["org/name"]
    model = tiny_model(tmp_path)
    before = written(tmp_path)

    def refusal() -> str:
        with pytest.raises(PublishError) as caught:
            publish(model, "org/name", Description("apache-2.0", "Drawn clips."))
        assert written(tmp_path) == before
        return str(caught.value)

    hub.faults = [Fault("HEAD", lies={"X-Linked-Etag": f'"{tmp_path}/x"'})]
    assert "X-Linked-Etag is" in (said := refusal())
    assert "is on the Hub, unchecked: do not use it" in said
    hub.repos.clear()
    real = Uploads._commit

    def lying(self: Uploads, *arguments: Any) -> dict[str, Any]:
        return {**real(self, *arguments), "commitOid": f"{tmp_path}/x"}

    monkeypatch.setattr(Uploads, "_commit", lying)
    assert "as the commit of org/name, expected 40 hex digits" in refusal()
