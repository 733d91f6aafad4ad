"""What can go wrong while publishing: one line, what is on the Hub now, and nothing half done called done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hub_server import TOKEN, Fault, Hub, Repo, point_client_at
from hub_uploads import fault
from makers_models import tiny_model

from a2m2_zoo.errors import PublishError
from a2m2_zoo.zoo.publish import Description, publish

pytestmark = pytest.mark.usefixtures("seen_once")

HEAD = "nothing was committed to org/name, last seen at"


@pytest.fixture(autouse=True)
def token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return tiny_model(tmp_path)


def send(folder: Path, data: str = "Clips drawn by a program.") -> str | None:
    return publish(folder, "org/name", Description("apache-2.0", data)).commit


def refused(folder: Path) -> str:
    with pytest.raises(PublishError) as caught:
        send(folder)
    chain: BaseException | None = caught.value
    while chain is not None:
        assert TOKEN not in str(chain)
        chain = chain.__cause__
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    return said


def test_without_a_token(hub: Hub, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert "no token" in (said := refused(tiny))
    assert "hf auth login" in said
    assert hub.count() == 0


@pytest.mark.parametrize("bad", ["hf_wrong", "hf_töken", "hf_to\x01ken", "hf_to\nken"])
def test_a_token_that_the_hub_does_not_take(
    hub: Hub, tiny: Path, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", bad)
    said = refused(tiny)
    assert bad not in said
    assert "the token" in said
    assert "nothing was changed on the Hub" in said
    assert not hub.repos


@pytest.mark.parametrize(
    ("step", "status", "message"),
    [
        ("create", 401, "does not take the token"),
        ("create", 403, "may not write to org/name"),
        ("create", 429, "asks for fewer requests"),
        ("create", 500, "has a fault of its own (500"),
        ("yaml", 400, "the Hub refused the card (- as told)"),
        ("preupload", 403, "may not write to org/name"),
        ("batch", 403, "may not write to org/name"),
        ("put", 403, "may not write to org/name"),
        ("put", 507, "has a fault of its own (507"),
        ("verify", 404, "does not know org/name"),
        ("commit", 401, "does not take the token"),
        ("commit", 403, "may not write to org/name"),
        ("commit", 412, "somebody else changed org/name"),
        ("commit", 418, "refused (418"),
        ("commit", 429, "asks for fewer requests"),
        ("commit", 503, "has a fault of its own (503"),
    ],
)
def test_refusals_at_every_step(hub: Hub, tiny: Path, step: str, status: int, message: str) -> None:
    hub.faults = [fault(step, status=status)]
    said = refused(tiny)
    assert message in said
    if step == "create":
        unsure = "whether org/name was made, without files yet, is not known"
        assert (unsure if status >= 500 else "nothing was changed on the Hub") in said
        assert not hub.repos
    else:
        assert HEAD in said
        assert set(hub.repos["org/name"].files[str(hub.repos["org/name"].head)]) == {
            ".gitattributes"
        }


@pytest.mark.parametrize("whole", [True, False])
def test_a_repository_whose_making_was_not_answered(hub: Hub, tiny: Path, whole: bool) -> None:
    hub.faults = [fault("create", cut=0, whole=whole)]
    assert "whether org/name was made, without files yet, is not known" in refused(tiny)
    assert ("org/name" in hub.repos) == whole
    assert send(tiny) == hub.repos["org/name"].head


def test_what_is_to_be_private_is_not_sent_to_a_public_repository(hub: Hub, tiny: Path) -> None:
    hub.repos["org/name"] = Repo({"0" * 40: {}}, head="0" * 40)
    with pytest.raises(PublishError, match="is public and was to be private; no file was sent"):
        publish(tiny, "org/name", Description("mit", "x"), private=True)
    assert hub.count("POST") == 0


def test_the_same_call_goes_on_from_there(hub: Hub, tiny: Path) -> None:
    hub.faults = [fault("commit", status=503)]
    refused(tiny)
    sent = hub.count("PUT")
    assert send(tiny) == hub.repos["org/name"].head
    assert hub.count("PUT") == sent  # the weights are there already


@pytest.mark.parametrize("step", ["preupload", "batch", "put", "verify"])
@pytest.mark.parametrize("how", [{"status": 429}, {"status": 503}, {"cut": 0}])
def test_passing_faults_are_waited_out(
    hub: Hub, tiny: Path, naps: list[float], step: str, how: dict[str, int]
) -> None:
    hub.faults = [fault(step, **how), fault(step, **how)]
    assert send(tiny) == hub.repos["org/name"].head
    assert naps


@pytest.mark.parametrize("step", ["preupload", "put"])
def test_lasting_faults_end(hub: Hub, tiny: Path, naps: list[float], step: str) -> None:
    hub.faults = [fault(step, cut=0) for _ in range(20)]
    said = refused(tiny)
    assert "the connection to the Hub broke" in said
    assert HEAD in said
    hub.faults = [fault(step, status=429) for _ in range(20)]
    assert "asks for fewer requests" in refused(tiny)


@pytest.mark.parametrize("reset", [True, False])
def test_a_commit_that_is_cut_before_it_happened(hub: Hub, tiny: Path, reset: bool) -> None:
    hub.faults = [fault("commit", cut=0, reset=reset)]
    said = refused(tiny)
    assert "the connection to the Hub broke" in said
    assert HEAD in said
    assert send(tiny) == hub.repos["org/name"].head


@pytest.mark.parametrize("how", [{"cut": 0}, {"cut": 0, "reset": True}])
def test_a_commit_whose_answer_was_lost_is_found_and_checked(
    hub: Hub, tiny: Path, how: dict[str, Any]
) -> None:
    hub.faults = [fault("commit", whole=True, **how)]
    assert send(tiny) == hub.repos["org/name"].head
    assert len(hub.repos["org/name"].files) == 2  # the repository's first, and ours


def test_a_lost_answer_and_a_hub_that_is_gone(
    hub: Hub, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(handler: Any, *_: object) -> None:
        handler.break_off(reset=True)

    hub.after_commit = lambda _: monkeypatch.setattr(  # type: ignore[attr-defined]
        "hub_uploads.Uploads.describe", silent
    )
    hub.faults = [fault("commit", cut=0, whole=True)]
    said = refused(tiny)
    assert "whether org/name has the new commit is not known" in said
    assert "publish again" in said


def test_another_commit_meanwhile_is_not_overwritten(hub: Hub, tiny: Path) -> None:
    first = send(tiny)
    repo = hub.repos["org/name"]

    def meanwhile() -> None:
        repo.files["f" * 40] = {**repo.files[str(repo.head)], "README.md": b"by somebody else"}
        repo.head = "f" * 40

    hub.before_commit = meanwhile  # type: ignore[attr-defined]
    with pytest.raises(PublishError, match=r"somebody else changed org/name meanwhile \(412\)"):
        send(tiny, data="Other clips.")
    assert repo.head == "f" * 40
    assert set(repo.files) == {*list(repo.files)[:1], str(first), "f" * 40}


@pytest.mark.parametrize("name", ["README.md", "config.json", "model.safetensors"])
def test_other_bytes_on_the_hub_are_noticed(hub: Hub, tiny: Path, name: str) -> None:
    def damage(commit: str) -> None:
        files = hub.repos["org/name"].files[commit]
        files[name] = files[name][:-2] + b"~\n"

    hub.after_commit = damage  # type: ignore[attr-defined]
    said = refused(tiny)
    assert f"the Hub has other bytes for {name}" in said
    assert "do not use that commit" in said


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Fault("HEAD", status=500), "has a fault of its own (500"),
        (Fault("HEAD", status=403), "may not write"),
        (Fault("GET", flip=True), "the Hub has other bytes for README.md"),
        (Fault("HEAD", status=404, code="EntryNotFound"), "a file that was sent is not there"),
    ],
)
def test_a_commit_that_cannot_be_read_back_is_not_called_done(
    hub: Hub, tiny: Path, naps: list[float], broken: Fault, message: str
) -> None:
    hub.faults = [broken] * 9
    said = refused(tiny)
    assert message in said
    assert f"commit {hub.repos['org/name'].head}" in said
    assert "do not use" in said
    hub.faults = []
    assert send(tiny) == hub.repos["org/name"].head


def test_an_unreachable_hub(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: Hub
) -> None:
    point_client_at("http://127.0.0.1:9", tmp_path / "gone", monkeypatch)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    said = refused(tiny)
    assert "the connection to the Hub broke" in said
    assert "nothing was changed on the Hub" in said


def test_what_is_no_hub(hub: Hub, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "hub_uploads.Uploads.describe", lambda self, *_: self.answer(200, ["hello"])
    )
    hub.repos["org/name"] = Repo({"0" * 40: {}}, head="0" * 40)
    assert "the Hub's answer is not what was expected" in refused(tiny)


def test_the_network_switched_off(tiny: Path, monkeypatch: pytest.MonkeyPatch, hub: Hub) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in refused(tiny)
    assert hub.count() == 0


def test_a_message_of_the_hub_with_the_token_in_it(hub: Hub, tiny: Path) -> None:
    headers = {"X-Error-Message": f"no such thing as {TOKEN} here"}
    hub.faults = [Fault("commit", status=422, headers=headers)]
    assert "refused (422: no such thing as ***" in refused(tiny)
