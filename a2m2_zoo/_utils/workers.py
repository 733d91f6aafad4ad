"""Where this package computes: in threads of its own, each on one core.

PyTorch shares the work of one operation among cores and lets them wait for each other in a loop. On a busy
machine most of the time goes into that waiting; a forked process waits for threads that it does not have;
and sums depend on how many cores there were. Here whole pieces of work are shared among threads instead, and
each is computed on one core: the same to the last bit on any number of threads. The pieces are whole clips
where many come (``ahead``), so that threads hardly wait for each other, and some frames of a clip where a
thread would else have nothing to do (``each``).

A thread of its own also has settings of its own: what the host program has set for the thread that calls
(a default device, autocast, the mode of autograd) does not reach what is computed here. Only the default
type of numbers is the process's; ``Float32`` sees to that.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch.overrides import TorchFunctionMode

from a2m2_zoo._utils.cores import threads
from a2m2_zoo._utils.locks import Lock
from a2m2_zoo.errors import A2M2Error

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

_THREADS = "a2m2-compute"  # how the names of the threads begin

#: What makes tensors from nothing, in the default type.
_MAKERS = frozenset(
    [torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.eye, torch.linspace]
)
#: What makes them from plain numbers, in a type that goes by the numbers.
_READERS = frozenset([torch.tensor, torch.full, torch.arange, torch.scalar_tensor])


class Float32(TorchFunctionMode):
    """Tensors that are made without a type are float32, whatever the process's default is.

    Unlike ``torch.set_default_dtype`` it holds for this thread alone.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Name the type where none is named."""
        kwargs = kwargs or {}
        if kwargs.get("dtype") is not None:
            return func(*args, **kwargs)
        if func in _MAKERS:
            return func(*args, **{**kwargs, "dtype": torch.float32})
        made = func(*args, **kwargs)
        if func in _READERS and made.dtype == torch.get_default_dtype():
            return func(*args, **{**kwargs, "dtype": torch.float32})
        return made


@contextmanager
def plain() -> Iterator[None]:
    """Float32 and the CPU where no type or device is named, for what computes in the caller's own thread."""
    with ExitStack() as settings:
        if torch.get_default_dtype() != torch.float32:
            settings.enter_context(Float32())
        if torch.empty(0).device.type != "cpu":
            settings.enter_context(torch.device("cpu"))
        yield


class _Here(threading.local):
    """What a thread knows of itself."""

    stop: threading.Event | None = None  # set when nobody waits for its work any more; None outside


class _Pool:
    """The threads, made when they are first needed and again when their number changes."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._size = 0

    def submit(self, work: Callable[[], R]) -> Future[R]:
        with self._lock.held:
            if self._pool is None or self._size != threads():
                if self._pool is not None:
                    self._pool.shutdown(wait=False)  # what it has begun or holds is still done
                    self._pool = None
                self._size = threads()
                self._pool = _started(self._size)
            return self._pool.submit(work)

    def forget(self) -> None:
        """In a forked child: the threads stayed with the parent."""
        self._pool = None


def _started(size: int) -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(size, thread_name_prefix=_THREADS)
    ready = threading.Barrier(size + 1)
    before = torch.get_num_threads()

    def begin() -> None:
        # A thread takes the process's number when it is first asked for it, and may then have its own.
        torch.get_num_threads()
        torch.set_num_threads(1)
        ready.wait()

    try:
        for _ in range(size):
            pool.submit(begin)
        ready.wait()
    except BaseException:  # Ctrl-C, or no more threads to be had
        ready.abort()
        raise
    torch.set_num_threads(before)  # for the host's threads that come later
    return pool


_here = _Here()
_pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget)


def apart(function: Callable[P, R]) -> Callable[P, R]:
    """Run ``function`` in one of the package's threads; within one of them, right here."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if _here.stop is not None:
            return function(*args, **kwargs)
        stop = threading.Event()

        work = partial(_within, stop, partial(function, *args, **kwargs))
        try:
            waiting = _pool.submit(work)
        except RuntimeError:  # The interpreter is about to end and starts no thread any more.
            return work()
        try:
            return waiting.result()
        except BaseException:
            # After Ctrl-C nothing goes on behind the caller's back: what runs ends at its next piece.
            stop.set()
            if not waiting.cancel():
                wait([waiting])
            raise

    return run


def each(function: Callable[[S], R], items: Iterable[S]) -> Iterator[R]:
    """``map``, shared among the threads within what runs ``apart``, where no gradient is kept.

    Raises:
        CancelledError: Nobody waits for the result any more, after Ctrl-C.
    """
    work = list(items)
    stop = _here.stop
    if stop is None or not torch.is_inference_mode_enabled():
        yield from map(function, work)
        return

    def shared(item: S) -> R:
        with torch.inference_mode():
            return function(item)

    waiting = [_pool.submit(partial(_within, stop, partial(shared, item))) for item in work[1:]]
    try:
        for i, item in enumerate(work):
            if stop.is_set():
                raise CancelledError
            # What no thread has begun is done here: jobs that wait for each other could wait for ever.
            if i == 0 or waiting[i - 1].cancel():
                yield function(item)
                continue
            # And what comes later, as long as another thread is at this one.
            for later in range(i, len(waiting)):
                if waiting[i - 1].done() or stop.is_set():
                    break
                if waiting[later].cancel():
                    waiting[later] = _done(function, work[later + 1])
            yield waiting[i - 1].result()
    finally:
        for future in waiting:
            future.cancel()


def _done(function: Callable[[S], R], item: S) -> Future[R]:
    """What ``function`` gives or raises, for when its turn comes."""
    held: Future[R] = Future()
    try:
        held.set_result(function(item))
    except Exception as error:
        held.set_exception(error)
    return held


def ahead(function: Callable[[S], R], items: Iterable[S], *, device: torch.device) -> Iterator[R]:
    """``map``, in order, while the items that follow are drawn by the caller and worked on in the threads.

    Each item is one piece of work on one thread. An error comes out in its item's place and ends it; closing
    the iterator ends what is under way at its next piece.

    Args:
        function: Runs as what is ``apart`` does.
        items: Drawn from in the caller's thread, one more than are under way.
        device: Where it computes. On a CPU one item more than there are threads is under way, so that none
            has to wait; elsewhere one, while the next is drawn.

    Raises:
        A2M2Error: The process was forked since, and has none of the threads.
    """
    if _here.stop is not None:
        yield from map(function, items)
        return
    stop, home, cpu = threading.Event(), os.getpid(), device.type == "cpu"
    waiting: deque[Future[R]] = deque()

    def first() -> R:
        if os.getpid() != home:
            raise A2M2Error(
                "this work began before the process was forked; begin it again in the child"
            )
        return waiting.popleft().result()

    try:
        for item in items:
            most = threads() + 1 if cpu else 1
            while waiting and (len(waiting) >= most or waiting[0].done()):
                yield first()
            waiting.append(_pool.submit(partial(_within, stop, partial(function, item))))
        while waiting:
            yield first()
    finally:
        if os.getpid() == home:
            stop.set()
            running = [future for future in waiting if not future.cancel()]
            # The garbage collector may close it in any thread: one of the pool's waits for none.
            if not threading.current_thread().name.startswith(_THREADS):
                wait(running)


def _within(stop: threading.Event, work: Callable[[], R]) -> R:
    before, _here.stop = _here.stop, stop
    try:
        with plain():
            return work()
    finally:
        _here.stop = before
