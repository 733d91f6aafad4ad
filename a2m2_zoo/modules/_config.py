"""Configurations as JSON and back, with every refusal naming the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, ClassVar, TypeVar

from a2m2_zoo.errors import ArgumentError

C = TypeVar("C", bound="Config")


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
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(data) - set(known))
        if unknown:
            raise ArgumentError(
                f"{cls.__name__} has no {', '.join(unknown)}; its fields are {', '.join(known)}"
            )
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        try:
            return cls(**values)
        except TypeError as error:
            raise ArgumentError(
                f"{cls.__name__} cannot be made of {sorted(data)}: {error}"
            ) from error

    def _choice(self, name: str, options: Sequence[str]) -> None:
        value = getattr(self, name)
        if value not in options:
            raise ArgumentError(f"{name} is {value!r}; expected one of {', '.join(options)}")

    def _flag(self, *names: str) -> None:
        for name in names:
            if not isinstance(value := getattr(self, name), bool):
                raise ArgumentError(f"{name} is {value!r}; expected true or false")

    def _integer(self, name: str, *, low: int) -> None:
        if not _is_integer(value := getattr(self, name)) or value < low:
            raise ArgumentError(f"{name} is {value!r}; expected a whole number of {low} or more")

    def _number(self, name: str, *, low: float, above: bool = False) -> None:
        value = getattr(self, name)
        bound = f"above {low:g}" if above else f"of {low:g} or more"
        if (
            not _is_number(value)
            or value < low
            or (above and value == low)
            or value == float("inf")
        ):
            raise ArgumentError(f"{name} is {value!r}; expected a number {bound}")

    def _integers(self, name: str, *, low: int) -> None:
        value = getattr(self, name)
        if not isinstance(value, tuple) or not all(_is_integer(v) and v >= low for v in value):
            raise ArgumentError(f"{name} is {value!r}; expected whole numbers of {low} or more")

    def _numbers(self, name: str) -> None:
        value = getattr(self, name)
        if not isinstance(value, tuple) or not all(_is_number(v) and abs(v) < 1e30 for v in value):
            raise ArgumentError(f"{name} is {value!r}; expected numbers")


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
