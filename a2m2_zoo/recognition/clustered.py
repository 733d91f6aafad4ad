"""A recogniser that is made again in each worker of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from a2m2_zoo.engine import Work
from a2m2_zoo.recognition.bank import SupportBank
from a2m2_zoo.recognition.episode import Prediction, Source
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.recognition.options import QueryOptions, TextOptions

if TYPE_CHECKING:
    from a2m2_zoo.errors import A2M2Error
    from a2m2_zoo.recognition.recognizer import Recognizer

#: Options that the caller's side has dealt with before clips go out.
_DONE = ("engine", "layout")


@dataclass(frozen=True)
class MakeAnswers:
    """Makes work that answers clips, see ``a2m2_zoo.engine.Make``.

    Attributes:
        model: The model, on the CPU; each worker moves it to where it computes.
        bank: The supports.
        text: How class names take part.
        options: How clips are answered.
    """

    model: Model
    bank: SupportBank
    text: TextOptions
    options: QueryOptions

    @classmethod
    def of(cls, recognizer: Recognizer, options: QueryOptions) -> MakeAnswers:
        """What answers as ``recognizer`` does."""
        own: Any = {name: value for name, value in options.items() if name not in _DONE}
        model = recognizer.model.to("cpu")
        return cls(model, recognizer.bank, recognizer.text, own)

    def __call__(self) -> Work[Source, Prediction | A2M2Error]:
        """The work."""
        from a2m2_zoo.engine.worker import own_device
        from a2m2_zoo.recognition.recognizer import Recognizer

        device = own_device() if self.model.runtime == "torch" else "cpu"
        made = Recognizer(self.model.to(device), self.bank, **self.text)
        return partial(made.iter_classify, **self.options)
