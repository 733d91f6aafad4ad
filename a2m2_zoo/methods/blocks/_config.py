"""Configurations as JSON and back, with every refusal naming the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, ClassVar, TypeVar

from a2m2_zoo.errors import ArgumentError

C = TypeVar("C", bound="Config")

#: What a field may be at most unless it says otherwise: far above any use, far below what hangs or fills a
#: memory. Configurations come from files that anybody may have written.
LARGEST, LARGEST_NUMBER, MOST_FRAMES, LONGEST_TEXT = 16_384, 1e9, 4096, 200
LONGEST_LIST = 256


class Config:
    """Base of this folder's frozen configurations: strict ``to_dict`` and ``from_dict``."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; tuples become lists."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls: type[C], data: Mapping[str, Any]) -> C:
        """The configuration behind ``to_dict``'s values; fields left out take their defaults.

        Raises:
            ArgumentError: A key that no field has, a required one missing, or a value a field
                refuses.
        """
        if not isinstance(data, Mapping):
            raise ArgumentError(f"a {cls.__name__} is {short(data)}; expected fields and values")
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(map(str, data)) - set(known))
        if unknown:
            some = ", ".join(name[:40] for name in unknown[:8])
            raise ArgumentError(f"{cls.__name__} has no {some}; its fields are {', '.join(known)}")
        texts = {field.name for field in fields(cls) if field.type in ("str", str)}
        for name in sorted(texts & set(data)):
            if not isinstance(data[name], str) or len(data[name]) > LONGEST_TEXT:
                raise ArgumentError(f"{name} is {short(data[name])}; expected a word")
        for name, value in data.items():
            if isinstance(value, list) and len(value) > LONGEST_LIST:
                raise ArgumentError(
                    f"{name} has {len(value)} entries; expected at most {LONGEST_LIST}"
                )
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        try:
            return cls(**values)
        except TypeError as error:
            raise ArgumentError(
                f"{cls.__name__} cannot be made of {', '.join(sorted(data))}: "
                f"{next(iter(str(error).splitlines()), ''):.200}"
            ) from error

    def _choice(self, name: str, options: Sequence[str]) -> None:
        value = getattr(self, name)
        if value not in options:
            raise ArgumentError(f"{name} is {short(value)}; expected one of {', '.join(options)}")

    def _flag(self, *names: str) -> None:
        for name in names:
            if not isinstance(value := getattr(self, name), bool):
                raise ArgumentError(f"{name} is {short(value)}; expected true or false")

    def _integer(self, name: str, *, low: int, high: int = LARGEST) -> None:
        if not is_integer(value := getattr(self, name)) or not low <= value <= high:
            raise ArgumentError(
                f"{name} is {short(value)}; expected a whole number of {low} or more"
                + (f", at most {high}" if is_integer(value) and value > high else "")
            )

    def _number(self, name: str, *, low: float, above: bool = False) -> None:
        value = getattr(self, name)
        bound = f"above {low:g}" if above else f"of {low:g} or more"
        if not is_number(value) or not low <= value <= LARGEST_NUMBER or (above and value == low):
            raise ArgumentError(
                f"{name} is {short(value)}; expected a number {bound}"
                + (f", at most {LARGEST_NUMBER:g}" if is_number(value) and value > low else "")
            )

    def _integers(self, name: str, *, low: int, high: int = LARGEST) -> None:
        value = getattr(self, name)
        if not isinstance(value, tuple) or not all(
            is_integer(v) and low <= v <= high for v in value
        ):
            raise ArgumentError(
                f"{name} is {short(value)}; expected whole numbers of {low} or more, at most {high}"
            )

    def _numbers(self, name: str) -> None:
        value = getattr(self, name)
        if not isinstance(value, tuple) or not all(
            is_number(v) and abs(v) <= LARGEST_NUMBER for v in value
        ):
            raise ArgumentError(f"{name} is {short(value)}; expected numbers")


def short(value: object) -> str:
    """A value in an error: at most sixty characters of it."""
    text = f"{value:.60}" if isinstance(value, str) else value
    shown = repr(text)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def is_integer(value: object) -> bool:
    """Whether it is a whole number, and not true or false."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether it is a number, and neither true, false nor NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
