"""Many visitors at once, all with the same clips: what one gets or leaves touches no other."""

from __future__ import annotations

import concurrent.futures
import os
import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import makers
import pytest
from app.serving import Server, Visitor, filed

from a2m2_zoo import build_bank, load_model
from a2m2_zoo.app.store import held_bytes

pytestmark = pytest.mark.slow

_VISITS = 12
_ROUNDS = 10 if os.environ.get("A2M2_LONG") == "1" else 1
_AT_ONCE = 6


@dataclass
class Things:
    """What every visitor brings: the same bytes under the same names.

    Attributes:
        clip: A clip, for support and query.
        bank: Makes a bank whose classes carry a number.
    """

    clip: Path
    bank: Callable[[int], Path]


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Things:
    folder = tmp_path_factory.mktemp("things")
    clip = makers.draw_video(folder / "clip.mp4", 20)
    other = makers.draw_video(folder / "other.mp4", 20, speed=-7)
    model = load_model("protonet-lite0", device="cpu")
    made = build_bank({"right": [clip], "left": [other]}, model=model)
    (folder / "numbered").mkdir()

    def bank(number: int) -> Path:
        place = folder / "numbered" / str(number)
        place.mkdir()
        classes = (f"right of {number} -", f"left of {number} -")
        order = ("right", "left")
        names = tuple(classes[order.index(name)] for name in made.class_names)
        return replace(made, class_names=names).save(place / "bank.safetensors")

    return Things(clip, bank)


def visit(page: Server, things: Things, number: int) -> list[str]:
    """One visit from the first page to the last; what went wrong, if anything did."""
    wrong: list[str] = []
    visitor = Visitor(page.address, cookie=number % 2 == 0)

    def expect(said: str, words: str) -> None:
        numbers = {int(n) for n in re.findall(r"of (\d+) -", said)}
        if words not in said or numbers - {number}:
            wrong.append(f"{number}: {words!r} is not in {said[-300:]!r}")

    status, places = visitor.send(things.bank(number), things.clip, things.clip)
    if status != 200:
        return [f"{number}: {places}"]
    bank, support, query = places
    expect(visitor.load(filed(bank)), "Loaded 2 classes")
    expect(visitor.name_action(filed(query)), f"right of {number} -")
    if number % 4 == 0:
        expect(visitor.add(f"more of {number} -", filed(support)), "Added 1 clip to more")
    status, data = visitor.fetch(query)
    if data != things.clip.read_bytes():
        wrong.append(f"{number}: its clip is gone ({status})")
    expect(visitor.name_action(filed(query)), f"right of {number} -")
    visitor.leave()
    return wrong


@pytest.mark.parametrize("turn", range(_ROUNDS))
def test_equal_clips_cross_no_sessions(quick_page: Server, things: Things, turn: int) -> None:
    numbers = range(turn * _VISITS, (turn + 1) * _VISITS)
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(lambda n: visit(quick_page, things, n), numbers))
    wrong = [line for lines in found for line in lines]
    print(f"{_VISITS} visits, {len(wrong)} crossed or lost")
    assert wrong == []


def test_the_room_is_kept_to_when_many_send_at_once(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="needs gradio: a2m2_zoo[app]")
    from app.small import small_page

    with small_page(tmp_path / "page", upload_mb=5, held_mb=20) as (address, folder):
        clip = tmp_path / "a.bin"
        clip.write_bytes(secrets.token_bytes(3 << 20))
        most = 0
        ended = threading.Event()

        def watch() -> None:
            nonlocal most
            while not ended.wait(0.005):
                most = max(most, held_bytes(folder))

        watcher = threading.Thread(target=watch)
        watcher.start()
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            sent = [pool.submit(Visitor(address).send, clip, chunked=n % 2 == 1) for n in range(12)]
            statuses = [future.result()[0] for future in sent]
        ended.set()
        watcher.join()
        assert set(statuses) == {200, 413}
        assert 1 <= statuses.count(200) <= 6
        assert max(most, held_bytes(folder)) <= 20 << 20
        assert held_bytes(folder) == statuses.count(200) * (3 << 20)
