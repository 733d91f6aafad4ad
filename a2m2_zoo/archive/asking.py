"""Questions to an archive: a search by vectors brings candidates, the model's own scores decide."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from a2m2_zoo._utils.words import counted
from a2m2_zoo._utils.workers import apart, each
from a2m2_zoo.archive.codec import PIECE, Codec
from a2m2_zoo.archive.hits import Hit, fragment, merged
from a2m2_zoo.archive.store import Store
from a2m2_zoo.archive.vectors import summary
from a2m2_zoo.errors import ArchiveError
from a2m2_zoo.methods.base import Descriptors, take
from a2m2_zoo.recognition.bank import SupportBank
from a2m2_zoo.recognition.episode import Prediction
from a2m2_zoo.recognition.recognizer import Recognizer

if TYPE_CHECKING:
    from a2m2_zoo.recognition.model import Model

_log = logging.getLogger("a2m2_zoo")
#: The class of all that is none of the supports' classes.
ELSE = "everything else"
#: Windows that the search brings for all classes together.
REACH = 1000
_ELSE = 32  # windows that stand for everything else: the half of those drawn that is least like the supports
_PLENTY = 2  # times as many windows as are wanted are compared with everything else
_FEW = 20  # windows; so few hardly show what else happens
_NEARLY = 0.9  # of a score of a pair: so much is nearly as good
_COLUMNS = ("key", "start", "end", "rate", "descriptors", "poster")


@dataclass(frozen=True, eq=False)
class Found:
    """Windows that are looked at.

    Attributes:
        rows: Their columns, as plain values.
        uris: Key → where the clip lies.
    """

    rows: list[dict[str, Any]]
    uris: dict[str, str]

    def packed(self, places: Sequence[int]) -> list[bytes]:
        """Descriptors of some of them."""
        return [self.rows[at]["descriptors"] for at in places]

    def hit(self, at: int, label: str, score: float) -> Hit:
        """One of them as an answer."""
        row = self.rows[at]
        return Hit(
            uri=self.uris[row["key"]],
            start=row["start"],
            end=row["end"],
            label=label,
            score=score,
            key=row["key"],
            rate=row["rate"],
            poster=row["poster"],
        )


@dataclass(frozen=True)
class Asking:
    """An archive that is asked, with its model.

    Attributes:
        store: Its tables.
        model: That made its descriptors.
        codec: How they are kept.
        reach: Windows that the search brings.
    """

    store: Store
    model: Model
    codec: Codec
    reach: int = REACH

    def find(self, bank: SupportBank, count: int) -> list[Hit]:
        """Where the classes of the supports are seen, best first, up to ``count`` for each."""
        scored = self.scored(bank, count)
        if scored is None:
            return []
        found, best, chances = scored
        hits = [
            found.hit(at, name, float(chances[row, label]))
            for label, name in enumerate(bank.class_names)
            for row, at in enumerate(best)
            if name != ELSE
        ]
        hits.sort(key=lambda hit: -hit.score)
        of_class = (merged((h for h in hits if h.label == n), count) for n in bank.class_names)
        return sorted((hit for hits in of_class for hit in hits), key=lambda hit: -hit.score)

    def like(self, query: Descriptors, count: int) -> list[Hit]:
        """Windows that are most like one clip, best first."""
        found = self._nearest([self._vector(query)])
        if not found.rows:
            return []
        scores = self._pairs(query, found, range(len(found.rows)))[:, 0]
        order = scores.argsort(descending=True, stable=True).tolist()
        hits = (found.hit(at, "", float(scores[at])) for at in order)
        return merged(hits, count, share=_NEARLY)

    def scored(self, bank: SupportBank, count: int) -> tuple[Found, list[int], Tensor] | None:
        """Candidates, which of them are best by the mean A² score of a class, and these' probabilities.

        The last column is that of everything else. None where the archive holds no window.
        """
        way = len(bank.class_names)
        members = [(bank.label_tensor == label).nonzero()[:, 0] for label in range(way)]
        vectors = [self._vector(take(bank.descriptors, some)) for some in members]
        found = self._nearest(vectors)
        if not found.rows:
            return None
        pairs = self._pairs(bank.descriptors, found, range(len(found.rows)))
        means = _class_means(pairs, members)
        top = means.topk(min(_PLENTY * count, len(means)), dim=0).indices
        best = sorted(set(top.flatten().tolist()))
        return found, best, self._chances(bank, members, found.packed(best))

    def _chances(
        self, bank: SupportBank, members: Sequence[Tensor], packed: Sequence[bytes]
    ) -> Tensor:
        """Probability of each class and, last, of everything else."""
        if self.store.count < _FEW:
            _log.warning(
                "the archive holds %s, too few to show what else happens: %s",
                counted(self.store.count, "window"),
                "go by the order of the places"
                if len(members) == 1
                else "scores are as of `classify`",
            )
            if len(members) > 1:
                chances, known = self._answers(Recognizer(self.model, bank), packed)
                sure = torch.tensor([1.0 if one is None else one for one in known]).to(chances)
                return torch.cat([chances * sure[:, None], 1 - sure[:, None]], -1)
        against = bank.add(self._everything_else(bank, members))
        recognizer = Recognizer(self.model, against)
        places = [against.class_names.index(name) for name in (*bank.class_names, ELSE)]
        return self._answers(recognizer, packed)[0][:, places]

    def classify(
        self, recognizer: Recognizer, *, top_k: int | None, reject_below: float | None
    ) -> Iterator[Prediction]:
        """The action of every window, in the order in which they were added."""
        clips = self.store.clips()
        for batch in self.store.batches(("key", "start", "end", "descriptors"), 4 * PIECE):
            rows = [row for row in batch.to_pylist() if row["key"] in clips]
            if not rows:
                continue
            packed = [row["descriptors"] for row in rows]
            chances, known = self._answers(recognizer, packed)
            for row, chance, sure in zip(rows, chances.tolist(), known, strict=True):
                clip = clips[row["key"]]
                name = fragment(clip["uri"], row["start"], row["end"])
                name = clip["uri"] if clip["windows"] == 1 else name
                yield _prediction(recognizer, name, chance, sure, top_k, reject_below)

    def drawn(self, count: int, seed: int = 0) -> Found:
        """Windows drawn at random, the same each time."""
        total = self.store.count
        picked = np.random.default_rng(seed).permutation(total)[: min(count, total)]
        return self._kept(self.store.at(sorted(picked.tolist()), _COLUMNS).to_pylist())

    def vectors(self, packed: Sequence[bytes]) -> Tensor:
        """Search vectors of windows."""
        basis = self.store.basis
        assert basis is not None  # there are windows
        return basis.vectors(self.model.method, self.codec.unpack(packed))

    def _nearest(self, vectors: Sequence[np.ndarray[Any, Any] | None]) -> Found:
        each_brings = max(self.reach // max(len(vectors), 1), 1)
        ids: dict[int, None] = {}
        for vector in vectors:
            if vector is not None:
                ids |= dict.fromkeys(self.store.nearest(vector, each_brings))
        if not ids:
            return Found([], {})
        return self._kept(self.store.taken(list(ids), _COLUMNS).to_pylist())

    def _kept(self, rows: list[dict[str, Any]]) -> Found:
        """Windows whose clips are whole."""
        clips = self.store.clips({row["key"] for row in rows})
        uris = {key: facts["uri"] for key, facts in clips.items()}
        return Found([row for row in rows if row["key"] in uris], uris)

    def _vector(self, supports: Descriptors) -> np.ndarray[Any, Any] | None:
        """The mean search vector of supports; None where the archive holds no window."""
        basis = self.store.basis
        if basis is None:
            return None
        found: np.ndarray[Any, Any] = basis.vectors(self.model.method, supports).mean(0).numpy()
        return found

    @apart
    @torch.inference_mode()
    def _pairs(self, supports: Descriptors, found: Found, places: Sequence[int]) -> Tensor:
        """Scores of windows against supports; by summaries where the method scores no pairs."""
        against: Callable[[Descriptors], Tensor] | None = self.model.against(supports)
        if against is None:
            means = summary(self.model.method, supports)
            against = lambda some: summary(self.model.method, some) @ means.mT  # noqa: E731
        score = against

        def chunk(start: int) -> Tensor:
            return score(self.codec.unpack(found.packed(places[start : start + PIECE])))

        return torch.cat(list(each(chunk, range(0, len(places), PIECE)))).double()

    @apart
    @torch.inference_mode()
    def _answers(
        self, recognizer: Recognizer, packed: Sequence[bytes]
    ) -> tuple[Tensor, list[float | None]]:
        def chunk(start: int) -> tuple[Tensor, list[float | None]]:
            some = packed[start : start + PIECE]
            scores = recognizer.scores(self.codec.unpack(some))
            known = [None] * len(some) if scores.known is None else scores.known.tolist()
            return scores.probabilities, known

        parts = list(each(chunk, range(0, len(packed), PIECE)))
        return torch.cat([chances for chances, _ in parts]), [k for _, some in parts for k in some]

    def _everything_else(self, bank: SupportBank, members: Sequence[Tensor]) -> SupportBank:
        """Windows of the archive that are least like any class of the supports, as a class of their own."""
        found = self.drawn(2 * _ELSE)
        pairs = self._pairs(bank.descriptors, found, range(len(found.rows)))
        alike = _class_means(pairs, members).amax(1)
        least = alike.argsort(stable=True)[: max(1, len(alike) // 2)].tolist()
        descriptors = self.codec.unpack(found.packed(least))
        if missing := bank.descriptors.keys() - descriptors.keys():
            raise ArchiveError(
                f"the archive's windows have no descriptors {', '.join(sorted(missing))}; build it again"
            )
        return SupportBank(
            class_names=(ELSE,),
            labels=(0,) * len(least),
            descriptors=descriptors,
            thumbnails=bank.thumbnails[:1].expand(len(least), *bank.thumbnails.shape[1:]),
            sources=tuple(found.uris[found.rows[at]["key"]] for at in least),
            model=bank.model,
            weights_hash=bank.weights_hash,
        )


def _class_means(pairs: Tensor, members: Sequence[Tensor]) -> Tensor:
    """Mean score of each window against the supports of each class."""
    return torch.stack([pairs[:, some].mean(1) for some in members], -1)


def _prediction(
    recognizer: Recognizer,
    name: str,
    chances: list[float],
    known: float | None,
    top_k: int | None,
    reject_below: float | None,
) -> Prediction:
    ranked = sorted(zip(recognizer.class_names, chances, strict=True), key=lambda item: -item[1])
    best, second = ranked[0][1], ranked[1][1]
    sure = best if known is None else best * known
    return Prediction(
        query=name,
        label=ranked[0][0],
        probabilities=dict(ranked[:top_k]),
        margin=best - second,
        rejected=reject_below is not None and sure < reject_below,
        frames=(),
        model=recognizer.model.id,
        seconds=0.0,
        warnings=recognizer.warnings,
        known=known,
    )
