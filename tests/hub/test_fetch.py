"""Fetching through the real client from a hub on loopback: what is found, asked, checked and refused."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import COMMIT, TOKEN, Fault, Hub, Repo, environment
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from a2m2_zoo.errors import A2M2Error, CheckpointError, FetchError
from a2m2_zoo.hub import fetch as fetching
from a2m2_zoo.hub.fetch import fetch, file_sha256, local
from a2m2_zoo.hub.source import Source

DATA = random.Random(0).randbytes(50_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
NAME = "model.safetensors"
SOURCE = Source(NAME, "org/name", COMMIT)
ROOT = Path("nowhere")


@pytest.fixture(autouse=True)
def repository(hub: Hub) -> None:
    files = {NAME: DATA, "deep/er/part.safetensors": b"part"}
    hub.repos["org/name"] = Repo({COMMIT: files}, head=COMMIT)


def refused(source: Source = SOURCE, **options: object) -> str:
    """The one line of a refusal."""
    with pytest.raises(FetchError) as caught:
        fetch(source, root=ROOT, **options)  # type: ignore[arg-type]
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    assert TOKEN not in said
    return said


def test_a_file_is_fetched_once_and_found_ever_after(hub: Hub) -> None:
    path = fetch(SOURCE, root=ROOT, sha256=SHA256)
    assert path.read_bytes() == DATA
    assert {seen.path for seen in hub.seen} == {f"/org/name/resolve/{COMMIT}/{NAME}"}
    assert hub.count("GET") == 1
    before = hub.count()
    assert fetch(SOURCE, root=ROOT) == fetch(SOURCE, root=ROOT, offline=True) == path
    assert local(SOURCE, root=ROOT) == path
    assert hub.count() == before


def test_folders_in_a_repository(hub: Hub) -> None:
    path = fetch(Source("deep/er/part.safetensors", "org/name", COMMIT), root=ROOT)
    assert path.read_bytes() == b"part"


def test_files_without_a_repository_lie_below_the_root(tmp_path: Path, hub: Hub) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / NAME).write_bytes(DATA)
    source = Source(f"weights/{NAME}")
    assert (
        fetch(source, root=tmp_path) == tmp_path / "weights" / NAME == local(source, root=tmp_path)
    )
    missing = Source("weights/other.safetensors")
    assert local(missing, root=tmp_path) is None
    assert fetch(missing, root=tmp_path) == tmp_path / "weights" / "other.safetensors"
    assert hub.count() == 0


def test_large_files_come_from_another_host_that_never_sees_the_token(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.cdn, hub.repos["org/name"].private = True, True
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert fetch(SOURCE, root=ROOT, sha256=SHA256).read_bytes() == DATA
    storage = [seen for seen in hub.seen if seen.path.startswith("/cdn/")]
    assert [seen.method for seen in storage] == ["GET"]
    assert storage[0].host.startswith("localhost:")
    assert storage[0].authorization is None
    assert all(seen.authorization for seen in hub.seen if seen not in storage)


@pytest.mark.parametrize("way", ["variable", "logged in"])
def test_private_repositories_open_by_the_clients_own_means(
    hub: Hub, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repos["org/name"].private = True
    assert "no such repository, or it is private (401)" in refused()
    if way == "variable":
        monkeypatch.setenv("HF_TOKEN", TOKEN)
    else:
        (tmp_path / "hf").mkdir(exist_ok=True)
        (tmp_path / "hf" / "token").write_text(TOKEN)
    assert fetch(SOURCE, root=ROOT, sha256=SHA256).read_bytes() == DATA


@pytest.mark.parametrize("variable", [None, "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
@pytest.mark.parametrize("value", ["1", "on", "True", "yes"])
def test_offline_a_miss_asks_nobody_and_says_what_to_do(
    hub: Hub, variable: str | None, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The client was imported before the variable was set, and reads it no more.
    if variable:
        monkeypatch.setenv(variable, value)
    said = refused(offline=None if variable else True, name="a2m2-clip")
    assert hub.count() == 0
    assert f"({variable} is set)" in said if variable else "(offline=True)" in said
    assert f"{NAME!r} of org/name is not on this machine" in said
    assert "run `a2m2 models pull a2m2-clip` with a network" in said
    by_hand = Path(said.split("put the file at ")[1].strip("'"))
    assert tmp_path in by_hand.parents
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(DATA)
    assert fetch(SOURCE, root=ROOT, offline=True).read_bytes() == DATA
    assert hub.count() == 0


def test_a_variable_that_was_set_at_import_counts_after_it_is_gone(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "(HF_HUB_OFFLINE was set)" in refused(offline=False)
    assert hub.count() == 0


def test_variables_that_say_no(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "1")  # as for the client, the first one decides
    assert fetch(SOURCE, root=ROOT).read_bytes() == DATA


def test_a_file_too_large_is_not_fetched(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MAX_BYTES", len(DATA) - 1)
    assert f"has {len(DATA):,} bytes; the limit is {len(DATA) - 1:,} bytes" in refused()
    assert hub.count("GET") == 0
    hub.faults = [Fault("HEAD", announce=fetching.MAX_BYTES * 1000)]
    assert "the limit is" in refused()
    assert hub.count("GET") == 0


def test_a_flipped_bit_on_the_way_is_found_and_the_way_out_works(hub: Hub) -> None:
    hub.faults = [Fault(flip=True)]
    said = refused(sha256=SHA256, name="a2m2-clip")
    bad = bytes([*DATA[:-1], DATA[-1] ^ 1])
    assert f"has sha256 {hashlib.sha256(bad).hexdigest()}" in said
    assert SHA256 in said
    assert "run `a2m2 models pull a2m2-clip --force`" in said
    damaged = local(SOURCE, root=ROOT)
    assert damaged is not None
    assert damaged.read_bytes() == bad, "nothing is deleted unasked"
    assert fetch(SOURCE, root=ROOT, sha256=SHA256, force=True).read_bytes() == DATA


def test_the_other_way_out_is_to_delete_the_file(hub: Hub) -> None:
    hub.faults = [Fault(flip=True)]
    path = Path(refused(sha256=SHA256).split("or delete ")[1].strip("'"))
    path.resolve().unlink()
    assert fetch(SOURCE, root=ROOT, sha256=SHA256).read_bytes() == DATA


def test_damage_in_the_cache_is_mended_by_force(hub: Hub) -> None:
    path = fetch(SOURCE, root=ROOT, sha256=SHA256)
    blob = path.resolve()
    blob.chmod(0o644)
    blob.write_bytes(bytes([DATA[0] ^ 1, *DATA[1:]]))
    assert file_sha256(fetch(SOURCE, root=ROOT)) != SHA256
    assert file_sha256(fetch(SOURCE, root=ROOT, sha256=SHA256, force=True)) == SHA256


def test_force_without_a_network_leaves_what_is_there(hub: Hub, naps: list[float]) -> None:
    path = fetch(SOURCE, root=ROOT)
    hub.faults = [Fault("HEAD", status=503)] * 20
    assert "failed (503)" in refused(force=True)
    assert "(offline=True)" in refused(force=True, offline=True)
    assert path.read_bytes() == DATA


def test_a_warm_cache_is_only_read(tmp_path: Path) -> None:
    fetch(SOURCE, root=ROOT)
    files = {p: p.lstat().st_mtime_ns for p in (tmp_path / "hf").rglob("*")}
    fetch(SOURCE, root=ROOT)
    assert {p: p.lstat().st_mtime_ns for p in (tmp_path / "hf").rglob("*")} == files


def test_hashing_reads_files_of_any_size(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(3 * (1 << 20) + 5)
    (tmp_path / "f").write_bytes(data)
    assert file_sha256(tmp_path / "f") == hashlib.sha256(data).hexdigest()
    with pytest.raises(FetchError, match=r"cannot read .*missing.*: No such file"):
        file_sha256(tmp_path / "missing")


hostile = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(["..", ".", "", "a", "~", "C:", "\\", "x.safetensors"]), max_size=6
    ).map("/".join),
    st.sampled_from(
        ["/etc/x.safetensors", "..\\x.safetensors", "a\0.safetensors", NAME, "a//b.safetensors"]
    ),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    file=hostile,
    repo_id=st.one_of(
        hostile, st.sampled_from(["org/name", "org", "../x", "a/b/c", "o--x/n", "org/n\n"])
    ),
    commit=st.one_of(
        st.text(max_size=41),
        st.sampled_from(["main", COMMIT, COMMIT.upper(), "../" * 13 + "a", COMMIT + "\n"]),
    ),
)
@example(file=NAME, repo_id="org/name", commit=COMMIT)
def test_hostile_sources_are_refused_and_write_nothing_outside_the_cache(
    hub: Hub, tmp_path: Path, file: str, repo_id: str, commit: str
) -> None:
    hub.seen.clear()
    error: A2M2Error | None = None
    try:
        path = fetch(Source(file, repo_id, commit), root=tmp_path)
        assert path.read_bytes() == hub.repos[repo_id].files[commit][file]
        assert (tmp_path / "hf" / "hub") in Path(os.path.normpath(path)).parents
    except A2M2Error as raised:
        error = raised
    assert len(str(error).splitlines()) == 1
    assert not isinstance(error, CheckpointError) or hub.count() == 0
    assert {p.name for p in tmp_path.iterdir()} <= {"hf"}
    for seen in hub.seen:
        assert seen.path == f"/{repo_id}/resolve/{commit}/{file}"


def test_another_process_takes_the_hub_and_the_switch_from_its_environment(
    hub: Hub, tmp_path: Path
) -> None:
    code = (
        "from pathlib import Path; from a2m2_zoo.hub.fetch import fetch;"
        "from a2m2_zoo.hub.source import Source;"
        f"print(fetch(Source({NAME!r}, 'org/name', {COMMIT!r}), root=Path('.'), sha256={SHA256!r}))"
    )

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        env = {**environment(hub, tmp_path / "other"), **more}
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    miss = run(HF_HUB_OFFLINE="1")
    assert "(HF_HUB_OFFLINE is set)" in miss.stderr
    assert hub.count() == 0
    first = run(HF_TOKEN=TOKEN)
    assert Path(first.stdout.strip()).read_bytes() == DATA
    assert first.stderr == "", "no bar and no warning where nobody looks"
    before = hub.count()
    assert run(HF_HUB_OFFLINE="1").stdout == run().stdout == first.stdout
    assert hub.count() == before
