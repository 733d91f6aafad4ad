"""Getting back what decoders leave behind.

A PyAV container and its streams hold each other, and with them the decoder and its pictures: 3 MB each at
1080p. Python's collector finds such a pair, but it counts objects, not bytes, and would let dozens pile
up. So bytes are counted here, and the collector is called when enough have gathered.
"""

from __future__ import annotations

import gc

from a2m2_zoo._utils.locks import Lock

_PICTURES = 20  # an H.264 decoder keeps 16, and a few are on their way
_BUDGET = 96 << 20


class Leftovers:
    """Bytes that finished decoders may still hold.

    >>> leftovers = Leftovers(budget=100)
    >>> leftovers.expect(50), leftovers.expect(50), leftovers.expect(50)
    (False, False, True)
    """

    def __init__(self, budget: int = _BUDGET) -> None:
        self._budget = budget
        self._held = 0
        self._lock = Lock()

    def expect(self, size: int) -> bool:
        """Count a decoder that is about to start; collect first if the earlier ones hold too much."""
        with self._lock.held:
            full = self._held + size > self._budget and self._held > 0
            self._held = size if full else self._held + size
        if full:
            gc.collect()
        return full

    def expect_decoder(self, width: int, height: int) -> bool:
        """Count a decoder of 4:2:0 pictures of this size."""
        return self.expect(_PICTURES * width * height * 3 // 2)


#: One for the process, as the collector is.
LEFTOVERS = Leftovers()
