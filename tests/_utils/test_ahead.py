"""``ahead``: whole items side by side, in order, no more of them at hand than are needed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from itertools import islice

import pytest
import torch
from makers import check_a_child_is_told

import a2m2_zoo
from a2m2_zoo._utils.workers import ahead, apart, each
from a2m2_zoo.errors import A2M2Error

CPU, ELSEWHERE = torch.device("cpu"), torch.device("meta")


@pytest.fixture(autouse=True, params=[1, 3])
def count(request: pytest.FixtureRequest) -> Iterator[int]:
    a2m2_zoo.set_threads(request.param)
    yield request.param
    a2m2_zoo.set_threads(None)


@pytest.mark.parametrize("device", [CPU, ELSEWHERE], ids=str)
def test_results_come_in_order_whichever_is_ready_first(device: torch.device) -> None:
    def work(x: int) -> tuple[int, str]:
        time.sleep(0.03 if x % 3 == 0 else 0)
        return x, threading.current_thread().name

    found = list(ahead(work, iter(range(12)), device=device))
    assert [x for x, _ in found] == list(range(12))
    assert all(name.startswith("a2m2-compute") for _, name in found)
    assert list(ahead(work, [], device=device)) == []


def test_all_threads_are_busy_with_whole_items(count: int) -> None:
    together = threading.Barrier(count)
    list(ahead(lambda _: together.wait(timeout=300), range(3 * count), device=CPU))
    assert not together.broken


@pytest.mark.parametrize("device", [CPU, ELSEWHERE], ids=str)
def test_no_more_is_drawn_or_begun_than_said(count: int, device: torch.device) -> None:
    drawn: list[int] = []
    most, running, at_once = threading.Lock(), 0, 0

    def work(x: int) -> int:
        nonlocal running, at_once
        with most:
            running += 1
            at_once = max(at_once, running)
        time.sleep(0.005)
        with most:
            running -= 1
        return x

    def items() -> Iterator[int]:
        for x in range(40):
            drawn.append(x)
            yield x

    under_way = count + 1 if device is CPU else 1
    for x in ahead(work, items(), device=device):
        assert len(drawn) - x <= under_way + 1
    assert at_once <= (count if device is CPU else 1)


def test_an_error_comes_in_its_place_and_ends_it() -> None:
    done: list[int] = []

    def work(x: int) -> int:
        if x == 4:
            raise A2M2Error("four")
        done.append(x)
        return x

    asked = ahead(work, range(10_000), device=CPU)
    assert [next(asked) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(A2M2Error, match="four"):
        next(asked)
    assert len(done) < 20
    assert list(asked) == []


def test_an_error_where_items_come_from_ends_what_is_under_way() -> None:
    running, done = threading.Event(), [0]

    def items() -> Iterator[int]:
        yield 0
        running.wait(300)
        raise A2M2Error("no more")

    @torch.inference_mode()
    def work(x: int) -> list[int]:
        running.set()
        return list(each(slow, range(10_000)))

    def slow(x: int) -> int:
        time.sleep(0.01)
        done[0] += 1
        return x

    with pytest.raises(A2M2Error, match="no more"):
        list(ahead(work, items(), device=CPU))
    assert done[0] < 5_000  # and not all of them


def test_nothing_goes_on_once_it_is_closed() -> None:
    done: list[int] = []

    def work(x: int) -> int:
        time.sleep(0.002)
        done.append(x)
        return x

    asked = ahead(work, range(10_000), device=CPU)
    assert next(asked) == 0
    asked.close()  # type: ignore[attr-defined]
    before = len(done)
    time.sleep(0.05)
    assert len(done) == before


@pytest.mark.parametrize("device", [CPU, ELSEWHERE], ids=str)
def test_within_the_threads_it_does_not_wait_for_them(device: torch.device) -> None:
    @apart
    def outer(x: int) -> int:
        return sum(ahead(lambda y: x * y, range(5), device=device))

    assert list(ahead(outer, range(20), device=CPU)) == [10 * x for x in range(20)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork: run on Linux or macOS")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Python 3.12: threads and fork
def test_a_forked_child_is_told_and_does_not_wait() -> None:
    asked = ahead(lambda x: x, range(20), device=CPU)
    assert next(asked) == 0
    check_a_child_is_told(lambda: list(asked))
    assert list(asked) == list(range(1, 20))


def test_nobody_waits_for_one_piece_while_others_are_not_begun() -> None:
    """Neither the thread that shares them out: it does the last ones while another is at the second."""
    late, done = threading.Event(), list[int]()

    def work(x: int) -> int:
        if x == 1:
            assert late.wait(300)
        if x == 7:
            raise A2M2Error("seven")
        done.append(x)
        if x == 6:
            late.set()
        return x

    @apart
    @torch.inference_mode()
    def all_of_them() -> list[int]:
        shared = each(work, range(9))
        found = list(islice(shared, 7))
        with pytest.raises(A2M2Error, match="seven"):  # in its place
            next(shared)
        return found

    a2m2_zoo.set_threads(2)
    assert all_of_them() == list(range(7))
    assert sorted(done)[:7] == list(range(7))
