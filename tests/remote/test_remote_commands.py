"""Commands on addresses: the answers of the disk, nothing twice, nothing half, no secret anywhere."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from web import Bucket, Web, forget

from a2m2_zoo._utils.files import write_atomically
from a2m2_zoo._utils.remote.addresses import place
from a2m2_zoo.cli import main
from a2m2_zoo.data.lists import read_list
from a2m2_zoo.errors import SaveError
from a2m2_zoo.recognition.bank import SupportBank

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(work: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def called(*arguments: Any) -> tuple[int, str, str]:
        code = main([*map(str, arguments), "--model", str(work / "tiny")])
        return code, *capsys.readouterr()

    return called


@pytest.fixture
def bucket(s3: Bucket, work: Path) -> Bucket:
    s3.put_folder(work / "supports", "supports")
    s3.put_folder(work / "clips", "clips")
    return s3


def answers(text: str) -> dict[str, dict[str, Any]]:
    """Answers by the clip's name, without what differs between a disk and a bucket."""
    found = {Path(row["query"]).name: row for row in json.loads(text)}
    for row in found.values():
        row.pop("query")
        row.pop("seconds", None)
    return found


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_bucket_is_answered_as_the_disk_is(bucket: Bucket, work: Path, run: Run) -> None:
    here = run("classify", work / "clips", "-s", work / "supports", "--json")
    there = run("classify", "s3://clips/clips/", "-s", "s3://clips/supports", "--json")
    assert here[0] == there[0] == 0, there[2]
    assert answers(there[1]) == answers(here[1])
    queries = [row["query"] for row in json.loads(there[1])]
    assert queries == [f"s3://clips/clips/{p.name}" for p in sorted((work / "clips").iterdir())]


def test_bad_addresses_leave_the_good_ones_their_answers(
    bucket: Bucket, web: Web, work: Path, run: Run, tmp_path: Path
) -> None:
    bucket.put("broken.mp4", b"no video")
    bad = ["s3://nobody/a.mp4", "s3://clips/none", "s3://clips/broken.mp4", web.url("none.mp4")]
    good = ["s3://clips/clips/0.mp4", web.url("1.mkv"), str(work / "clips" / "2.avi")]
    code, out, err = run("classify", *bad, *good, "-s", work / "supports", "--json")
    rows = {row["query"]: row for row in json.loads(out)}
    assert (code, list(rows)) == (1, [*bad, *good])
    assert all("error" in rows[query] for query in bad)
    assert all("label" in rows[query] for query in good)
    assert len([line for line in err.splitlines() if line.startswith("a2m2: ")]) == len(bad)
    file = tmp_path / "answers.jsonl"
    assert run("classify", *bad, *good, "-s", work / "supports", "--jsonl", file)[0] == 1
    assert {row["query"]: row.get("error") for row in lines(file)} == {
        query: row.get("error") for query, row in rows.items()
    }


def test_a_run_goes_on_by_content_wherever_the_clips_are(
    bucket: Bucket, work: Path, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "answers.jsonl"
    asked = ("classify", "s3://clips/clips", "-s", "s3://clips/supports")
    assert run(*asked, "--shard", "1/2", "--jsonl", file)[0] == 0
    part = lines(file)
    assert 0 < len(part) < 4
    code, _, err = run(*asked, "--resume", file)
    assert (code, f"{len(part)} answered before" in err) == (0, True), err
    assert len(lines(file)) == 4
    for row in lines(file):
        clip = work / "clips" / Path(row["query"]).name
        assert row["sha256"] == hashlib.sha256(clip.read_bytes()).hexdigest()
    # The same clips and supports on the disk: nothing is read again.
    code, _, err = run("classify", work / "clips", "-s", work / "supports", "--resume", file)
    assert (code, "0 answered, 4 answered before" in err) == (0, True), err


def test_banks_lie_in_buckets(bucket: Bucket, work: Path, run: Run, tmp_path: Path) -> None:
    there, here = "s3://clips/made/bank.safetensors", tmp_path / "bank.safetensors"
    code, out, err = run("bank", "create", "s3://clips/supports", "--out", there)
    assert (code, f"{there}: 2 classes" in out) == (0, True), err
    assert run("bank", "create", work / "supports", "--out", here)[0] == 0
    mine, theirs = SupportBank.load(here), SupportBank.load(there)
    assert all(mine.descriptors[k].equal(v) for k, v in theirs.descriptors.items())
    assert [s.replace("s3://clips", str(work)) for s in theirs.sources] == list(mine.sources)
    code, _, err = run("bank", "create", work / "supports", "--out", there)
    assert (code, "exists" in err) == (2, True)
    assert main(["bank", "show", there]) == 0
    assert run("classify", work / "clips", "-s", there, "--json")[0] == 0
    code, _, err = run("bank", "add", there, work / "supports")
    assert (code, "change a file of this machine and copy it there" in err) == (1, True)
    code, _, err = run("bank", "create", work / "supports", "--out", "s3://nobody/b.safetensors")
    assert (code, "there is no such bucket" in err) == (1, True)
    code, _, err = run("bank", "create", work / "supports", "--out", "https://127.0.0.1/b")
    assert (code, "web servers are read" in err) == (1, True)


def test_a_bank_of_a_web_server_is_as_good(web: Web, work: Path, run: Run, tmp_path: Path) -> None:
    here = tmp_path / "bank.safetensors"
    assert run("bank", "create", work / "supports", "--out", here)[0] == 0
    web.files["bank.safetensors"] = here.read_bytes()
    assert SupportBank.load(web.url("bank.safetensors")) == SupportBank.load(here)
    web.files["bank.safetensors"] = here.read_bytes()[:-1]
    code, _, err = run("classify", work / "clips", "-s", web.url("bank.safetensors"))
    assert (code, "'bank.safetensors' is not a safetensors file, or is damaged" in err) == (2, True)


def test_what_is_written_is_whole_or_as_it_was(
    s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    target = place(s3.put("out.txt", b"before"))

    def fails(scratch: Path) -> None:
        scratch.write_bytes(b"half")
        s3.ask_for_credentials(after=0)

    try:
        with pytest.raises(
            SaveError, match=r"cannot write 's3://clips/out.txt': access is refused"
        ):
            write_atomically(target, fails)
    finally:
        s3.ask_for_credentials(after=1 << 30)
    assert s3.get("out.txt") == b"before"

    def full(scratch: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(SaveError, match="No space left on device; it is made in the folder"):
        write_atomically(target, full)
    write_atomically(target, lambda scratch: scratch.write_bytes(b"after"))
    assert s3.get("out.txt") == b"after"
    assert not list(tmp_path.iterdir())


def test_what_cannot_lie_at_an_address_is_said(
    bucket: Bucket, work: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ("classify", work / "clips", "-s", work / "supports")
    for arguments, expected, said in (
        (("--jsonl", "s3://clips/a.jsonl"), 1, "lines cannot be added at 's3://clips/a.jsonl'"),
        (("--cache", "s3://clips/cache"), 2, "expected a folder of this machine"),
    ):
        code, _, err = run(*asked, *arguments)
        assert (code, said in err) == (expected, True), err
    code, _, err = run(
        "spot", work / "clips" / "0.mp4", "-s", work / "supports", "--cut", "s3://clips/c"
    )
    assert (code, "it is an address, not a folder of this machine" in err) == (1, True), err
    assert not list(tmp_path.iterdir())  # nor a folder of that name


def test_lists_and_their_videos_may_lie_apart(bucket: Bucket, web: Web, work: Path) -> None:
    text = b"right/0\nright/1\nback/0\nback/1\nback/none\n"
    web.files["testlist01.txt"] = text
    found = read_list(web.url("testlist01.txt"), root="s3://clips/supports")
    assert {name: list(map(str, clips)) for name, clips in found.classes.items()} == {
        name: [f"s3://clips/supports/{name}/{i}.mp4" for i in range(2)]
        for name in ("right", "back")
    }
    assert found.missing == ("back/none",)


def test_no_secret_is_in_any_output(
    bucket: Bucket, work: Path, run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "s3cr3t"
    file = tmp_path / "answers.jsonl"
    asked = ("-s", work / "supports", "--jsonl", file)
    for address in (
        f"https://me:{secret}@127.0.0.1:1/a.mp4",
        f"s3://clips/a.mp4?X-Amz-Sig={secret}",
    ):
        for arguments in (
            ("classify", work / "clips", address, *asked),
            ("classify", work / "clips", "-s", address),
            ("bank", "create", work / "supports", "--out", address),
            ("spot", address, "-s", work / "supports"),
            ("watch", address, "-s", work / "supports"),
            ("features", address),
        ):
            code, out, err = run(*arguments)
            assert code in (1, 2)
            assert secret not in out + err + caplog.text
            assert "credentials are taken from the environment" in err, (arguments, err)
            assert not file.exists()


def test_the_next_question_decodes_nothing(
    bucket: Bucket, web: Web, work: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from a2m2_zoo.video import decode

    (tmp_path / "broken.mp4").write_bytes(b"no video")
    queries = ["s3://clips/clips", web.url("0.mp4"), tmp_path / "broken.mp4"]
    asked = ("classify", *queries, "--json")
    plain = run(*asked, "-s", work / "supports")
    first = run(*asked, "-s", work / "supports", "--cache", tmp_path / "cache")
    assert first[0] == plain[0] == 1

    def bare(text: str) -> list[dict[str, Any]]:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in json.loads(text)]

    assert bare(first[1]) == bare(plain[1])  # every digit, frames and warnings
    bank = tmp_path / "bank.safetensors"
    assert run("bank", "create", work / "supports", "--out", bank)[0] == 0
    forget()
    web.seen.clear()
    read: list[str] = []
    real = decode.read_video_file
    monkeypatch.setattr(
        decode, "read_video_file", lambda file, job: read.append(job.name) or real(file, job)
    )
    monkeypatch.setitem(decode.READERS, "pyav", decode.read_video_file)
    again = run(*asked, "-s", bank, "--cache", tmp_path / "cache")
    assert bare(again[1]) == bare(plain[1])
    assert read == [str(tmp_path / "broken.mp4")]
    assert not any(method == "GET" for method, _, _ in web.seen)  # known by its version
    # What `features` has kept is found, and the other way round.
    code, out, _ = run("features", work / "clips", "--cache", tmp_path / "cache")
    assert (code, "4 clips, 0 failed" in out, len(read)) == (0, True, 1)


@pytest.mark.parametrize("form", ["--json", "--csv", "--jsonl"])
def test_parquet_has_what_the_others_have(
    bucket: Bucket, work: Path, run: Run, tmp_path: Path, form: str
) -> None:
    from pyarrow import parquet

    (tmp_path / "broken.mp4").write_bytes(b"no video")
    jsonl = tmp_path / "answers.jsonl"
    asked = ("classify", tmp_path / "broken.mp4", work / "clips", "-s", work / "supports")
    switch = (form, jsonl) if form == "--jsonl" else (form,)
    code, out, _ = run(*asked, *switch, "--parquet", tmp_path / "answers.parquet")
    assert code == 1
    table = parquet.read_table(tmp_path / "answers.parquet")
    rows = table.to_pylist()
    if form == "--csv":
        found = list(csv.DictReader(io.StringIO(out)))
        assert set(found[0]) <= set(table.column_names)
        assert [row["query"] for row in rows] == [row["query"] for row in found]
        assert [row["probability:back"] for row in rows[1:]] == [
            float(f["probability:back"]) for f in found[1:]
        ]
        return
    found = json.loads(out) if form == "--json" else lines(jsonl)
    for row, answer in zip(rows, found, strict=True):
        scores = {
            f"probability:{name}": value for name, value in answer.pop("probabilities", {}).items()
        }
        if "made_by" in answer:
            answer["made_by"] = json.dumps(answer["made_by"], sort_keys=True)
        assert {name: row[name] for name in (*answer, *scores)} == {**answer, **scores}
    assert rows[0]["error"]
    assert rows[0]["label"] is None


def test_parquet_of_a_resumed_run_has_each_clip_once(
    s3: Bucket, work: Path, run: Run, tmp_path: Path
) -> None:
    from pyarrow import parquet

    clips = Path(shutil.copytree(work / "clips", tmp_path / "clips"))
    sound = (clips / "0.mp4").read_bytes()
    (clips / "0.mp4").write_bytes(b"not whole yet")
    asked = ("classify", clips, "-s", work / "supports", "--resume", tmp_path / "a.jsonl")
    assert run(*asked, "--parquet", "s3://clips/a.parquet")[0] == 1
    (clips / "0.mp4").write_bytes(sound)
    assert run(*asked, "--parquet", "s3://clips/a.parquet")[0] == 0
    rows = parquet.read_table(io.BytesIO(s3.get("a.parquet") or b"")).to_pylist()
    assert sorted(row["query"] for row in rows) == sorted(map(str, clips.iterdir()))
    assert not any(row["error"] for row in rows)
    code, _, err = run(*asked[:4], "--jsonl", "-", "--parquet", tmp_path / "a.parquet")
    assert (code, "give that a FILE" in err) == (2, True)
