"""Clips as rows of numbers for scikit-learn, which this module alone needs: `ClipEmbedder`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from a2m2_zoo.errors import ArgumentError, DependencyError, VideoError
from a2m2_zoo.recognition.embeddings import Embeddings
from a2m2_zoo.video.inputs import as_clips, is_array, is_path
from a2m2_zoo.zoo.choose import AnyModel, as_model

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils.validation import check_is_fitted
except ImportError as missing:
    raise DependencyError(
        "a2m2_zoo.sklearn needs scikit-learn: pip install scikit-learn"
    ) from missing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from a2m2_zoo.recognition.model import Model

__all__ = ["ClipEmbedder"]

_OUTPUTS = ("pooled", "similarity")


class ClipEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A transformer from clips to numbers, for pipelines that end in any classifier or clustering.

    ``X`` is clips: a list of paths, a column of a table (or a table of that one column), a list of arrays. A
    clip that cannot be read is a row of its own like any other: it raises, or is a row of NaN.

    Args:
        model: A model, its name or the path of its checkpoint; the default model if None. A name is best:
            it is what copies and pickles of the transformer keep.
        output: ``pooled``, the mean of the backbone's frame vectors, (N, C); or ``similarity``, how alike
            each clip is to each that it was fitted to, (N, clips of ``fit``), which classifiers with
            ``kernel="precomputed"`` and neighbours take and which sees order and motion.
        unreadable: ``raise``, or ``nan`` for a row of NaN, which imputers and some classifiers take.
        workers: Clips decoded in parallel.

    Attributes:
        weights_hash_: Hash of the weights of the model that it was fitted with.
        embeddings_: Of the clips of ``fit``, with ``output="similarity"``.
    """

    def __init__(
        self,
        model: AnyModel = None,
        *,
        output: str = "pooled",
        unreadable: str = "raise",
        workers: int | None = None,
    ) -> None:
        self.model = model
        self.output = output
        self.unreadable = unreadable
        self.workers = workers

    def fit(self, X: Any, y: Any = None) -> ClipEmbedder:
        """Open the model and, for ``similarity``, embed the clips.

        Args:
            X: Clips.
            y: Nothing is learned from it.

        Raises:
            ArgumentError: ``output`` or ``unreadable`` is unknown, or ``X`` is no clips.
            VideoError: A clip cannot be read, with ``output="similarity"``.
        """
        for name, known in (("output", _OUTPUTS), ("unreadable", ("raise", "nan"))):
            if getattr(self, name) not in known:
                raise ArgumentError(
                    f"{name} is {getattr(self, name)!r:.60}; expected {' or '.join(map(repr, known))}"
                )
        clips, model = self._clips(X, fitting=True), as_model(self.model)
        if self.output == "similarity":
            self.embeddings_ = model.embed(clips, workers=self.workers)
            self._n_features_out = len(self.embeddings_)
        else:
            blank = model.embed(np.zeros((1, 64, 64, 3), np.uint8))
            self._n_features_out = blank.pooled.shape[1]
        self.weights_hash_, self._fitted_output = model.weights_hash, self.output
        return self

    def fit_transform(self, X: Any, y: Any = None) -> NDArray[np.float32]:
        """``fit`` and ``transform``; clips are embedded once.

        Raises:
            VideoError: As they do.
            ArgumentError: As they do.
        """
        self.fit(X, y)
        if self.output != "similarity":
            found: NDArray[np.float32] = self.transform(X)
            return found
        kernel: NDArray[np.float32] = as_model(self.model).similarity(self.embeddings_).numpy()
        return kernel

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Numbers of clips, a row each.

        Raises:
            VideoError: A clip cannot be read and ``unreadable`` is ``raise``.
            ArgumentError: ``X`` is no clips, or the model is not the one that it was fitted with.
        """
        check_is_fitted(self)
        clips, model = self._clips(X, fitting=False), as_model(self.model)
        if model.weights_hash != self.weights_hash_:
            raise ArgumentError(
                f"the transformer was fitted with a model of weights {self.weights_hash_[:12]} and "
                f"{model.id!r} has {model.weights_hash[:12]} now; fit it again"
            )
        if self.output != self._fitted_output:
            raise ArgumentError(
                f"the transformer was fitted with output={self._fitted_output!r} and has {self.output!r} "
                "now; fit it again"
            )
        read, found = self._embedded(model, clips)
        if self.output == "similarity" and found is not None:
            rows = model.similarity(found, self.embeddings_).numpy()
        elif found is not None:
            rows = found.numpy()
        made = np.full((len(read), self._n_features_out), np.nan, np.float32)
        if found is not None:
            made[read] = rows
        return made

    def _embedded(self, model: Model, clips: list[Any]) -> tuple[list[bool], Embeddings | None]:
        """Which clips could be read, and what they are."""
        if self.output == "pooled":
            model = replace(model, pose=False)  # who is seen where is no part of it
        if self.unreadable == "raise":
            return [True] * len(clips), model.embed(clips, workers=self.workers)
        read: list[bool] = []
        try:
            found = model.embed(
                clips, workers=self.workers, on_clip=lambda _, error: read.append(error is None)
            )
        except VideoError:  # none of them could be
            return read, None
        return read, found

    def _clips(self, X: Any, *, fitting: bool) -> list[Any]:
        """The clips of ``X`` as a list."""
        given = X.iloc[:, 0] if getattr(X, "ndim", 1) == 2 and hasattr(X, "iloc") else X
        if hasattr(given, "columns") or is_path(given) or not isinstance(given, Iterable):
            raise ArgumentError(
                "X is no list of clips; expected paths or arrays, a row for each clip"
            )
        if getattr(X, "ndim", 1) == 2 and X.shape[1] != 1:
            raise ArgumentError(f"X has {X.shape[1]} columns; expected one, of clips")
        cells = given if is_array(given) or isinstance(given, Set) else list(_flat(given))
        single, found = as_clips(cells, "X")
        if single:
            raise ArgumentError("X is one clip; expected a list of clips, a row for each: [clip]")
        clips = list(found)
        if not clips:
            raise ArgumentError("X has no clip; give at least one")
        return clips

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.no_validation = True
        tags.transformer_tags.preserves_dtype = []  # what comes out is float32, whatever clips are
        return tags


def _flat(clips: Iterable[Any]) -> Iterator[Any]:
    """A column of one cell a row as the cells."""
    for clip in clips:
        cell = getattr(clip, "ndim", 0) == 1 and getattr(clip.dtype, "kind", "") in ("U", "O", "T")
        yield clip[0] if cell else clip
