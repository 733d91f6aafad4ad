"""Files of records, whatever became of them."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from a2m2_zoo._utils import bounded_json
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.recognition import record_file, records
from a2m2_zoo.recognition.record_file import open_records
from a2m2_zoo.recognition.records import Known, MadeBy, supports_hash
from a2m2_zoo.video.content import content_or_none

HERE = MadeBy(model="m", weights="w", supports="s")


def line(number: int, *, made_by: MadeBy = HERE, error: str | None = None) -> bytes:
    record = {"query": f"{number}.mp4", "sha256": f"{number:064x}"}
    if error is None:
        record |= {"label": "a", "model": made_by.model, "made_by": made_by.to_dict()}
    else:
        record |= {"error": error}
    return json.dumps(record).encode() + b"\n"


def known(path: Path, content: bytes) -> Known:
    path.write_bytes(content)
    found = Known()
    found.read(path)
    return found


def answered(found: Known, number: int, made_by: MadeBy = HERE) -> bool:
    content = f"{number:064x}"
    record = found.answer(content, made_by)
    assert record is None or record["sha256"] == content
    return record is not None


def test_an_answer_is_for_a_content_and_stands_under_a_name(tmp_path: Path) -> None:
    found = known(tmp_path / "a", line(1) + line(3) + line(2, error="it is broken"))
    assert answered(found, 1)
    assert found.named(f"{1:064x}", HERE, "1.mp4")
    assert not found.named(f"{1:064x}", HERE, "3.mp4")
    assert not answered(found, 2)
    assert found.answer(None, HERE) is None
    assert not found.named(None, HERE, "1.mp4")
    again = known(
        tmp_path / "b", line(1) + line(1).replace(b"1" + b'", "label', b"4" + b'", "label')
    )
    assert [again.named(f"{n:064x}", HERE, "1.mp4") for n in (1, 4)] == [False, True]
    assert answered(again, 1), "of what the clip was before"
    assert [found.take_failure(f"{2:064x}", "it is broken") for _ in range(2)] == [True, False]
    assert not found.take_failure(f"{2:064x}", "it is missing")


def test_whom_an_answer_is_from(tmp_path: Path) -> None:
    there = MadeBy(model="m", weights="w", supports="t", options={"top_k": 3})
    found = known(
        tmp_path / "a", line(1) + line(2) + line(2, made_by=there) + line(3, made_by=there)
    )
    assert found.others(HERE) == (1, "supports 't' (here 's'), options top_k 3 (here none)")
    assert found.others(there)[0] == 1
    assert answered(found, 3, there)
    assert not answered(found, 3)


def test_a_file_that_something_happened_to_costs_what_it_hit(tmp_path: Path) -> None:
    chance, whole, outcomes = random.Random(0), b"".join(map(line, range(6))), Counter[str]()
    sound = {f"{i:064x}" for i in range(6)}
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(data))
            if (kind := chance.randrange(4)) == 0:
                data[at] = chance.randrange(256)
            elif kind == 1:
                del data[at:]
            elif kind == 2:
                del data[at : at + chance.randrange(200)]
            else:
                data[at:at] = chance.randbytes(chance.randrange(200))
            if not data:
                break
        try:
            found = known(tmp_path / "a", bytes(data))
        except ArgumentError:
            outcomes["refused"] += 1
            assert line(0)[:-1] not in data.split(b"\n")[:1]
            continue
        kept = {content for content in sound if found.answer(content, HERE)}
        intact = {f"{i:064x}" for i in range(6) if line(i)[:-1] in data.split(b"\n")}
        assert intact <= kept, "a line that nothing happened to counts"
        outcomes["read"] += 1
        with open_records(tmp_path / "a", resume=tmp_path / "a") as file, file.writing() as append:
            append(line(7).decode().rstrip("\n"))
        parts = (tmp_path / "a").read_bytes().split(b"\n")
        assert parts[-2:] == [line(7)[:-1], b""]
        again = Known()
        again.read(tmp_path / "a")
        assert {content for content in sound if again.answer(content, HERE)} == kept
    assert min(outcomes["read"], outcomes["refused"]) > 20, outcomes


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"query": "a", "sha256": null, "label": "a", "model": 3, "made_by": {}}\n',
        b'{"query": "a", "sha256": "abc", "error": "b"}\n',
        b'{"query": 3, "sha256": null, "error": "b"}\n',
        b'{"query": "a", "error": "b"}\n',
        b"\0" * 5000,
        b"\n",
    ],
)
def test_what_is_no_record(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ArgumentError, match="is no file of answers"):
        known(tmp_path / "a", content)


def test_lines_without_end_take_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_BYTES", 1000)
    assert bounded_json.MAX_BYTES > 1000
    found = known(tmp_path / "a", line(1) + b"x" * 4500 + b"\n" + line(2))
    assert found.damaged == 5
    assert answered(found, 2)
    found = known(tmp_path / "a", line(1) + b'{"query": "half')
    assert (found.sound, found.damaged) == (len(line(1)), 0)


def test_supports_are_their_names_and_contents(tmp_path: Path) -> None:
    for name in ("up", "down"):
        (tmp_path / "a" / name).mkdir(parents=True)
        (tmp_path / "a" / name / "1.mp4").write_bytes(name.encode())
    first = supports_hash(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    assert supports_hash(tmp_path / "b") == first
    (tmp_path / "b" / "up").rename(tmp_path / "b" / "left")
    assert supports_hash(tmp_path / "b") != first
    os.mkfifo(tmp_path / "b" / "left" / "2.mp4")  # nobody waits for it
    assert content_or_none(tmp_path / "b" / "left" / "2.mp4") is None
    assert (
        len({supports_hash(tmp_path / "b"), supports_hash(tmp_path / "b" / "down" / "1.mp4")}) == 2
    )


@pytest.mark.parametrize(("every", "times"), [(0.0, 4), (3600.0, 1)])
def test_lines_are_put_on_the_disk_every_few_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: float, times: int
) -> None:
    monkeypatch.setattr(record_file, "_SYNC_SECONDS", every)
    plain, sizes = os.fsync, list[int]()

    def sync(handle: int) -> None:
        sizes.append(os.fstat(handle).st_size)
        plain(handle)

    with open_records(tmp_path / "a") as file:
        monkeypatch.setattr(os, "fsync", sync)
        with file.writing() as append:
            for number in range(3):
                append(line(number).decode().rstrip("\n"))
        monkeypatch.setattr(os, "fsync", plain)
    length = len(line(0))
    assert sizes == [length, 2 * length, 3 * length, 3 * length][-times:]
