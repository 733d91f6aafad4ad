"""Tables of names that installed packages and files of the user's add to.

Entry points are read when a name is looked up that is not in the table itself, or when all names are
asked for, and a plugin is imported when its own name is: whatever is installed, importing this package costs
nothing for it.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Iterator, MutableMapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from a2m2_zoo.errors import ArgumentError, PluginError

_log = logging.getLogger("a2m2_zoo")
_T = TypeVar("_T")
_imported: dict[Path, bool] = {}


class Registry(MutableMapping[str, _T], Generic[_T]):
    """Name → what goes by it: the package's own, those set from outside, and those of plugins.

    Args:
        what: What they are, in messages; their entry points are of the group ``a2m2_zoo.<what>s``.
        own: The package's own.
        check: Gives what a plugin or a caller brought in the form of the table, or raises ``ArgumentError``.

    >>> table = Registry("thing", {"a": 1})
    >>> table["b"] = 2
    >>> list(table), "c" in table
    (['a', 'b'], False)
    """

    def __init__(
        self, what: str, own: dict[str, _T], check: Callable[[str, Any], _T] | None = None
    ) -> None:
        self._what, self._held, self._check = what, own, check
        self._own, self._told = frozenset(own), set[str]()

    def __getitem__(self, name: str) -> _T:
        if name not in self._held:
            self._held[name] = self._loaded(name)
        return self._held[name]

    def __contains__(self, name: object) -> bool:
        return name in self._held or name in self._plugins()

    def __setitem__(self, name: str, value: _T) -> None:
        there = self._held.get(name)
        if there is not None and _where(there) != _where(value):
            raise ArgumentError(
                f"there is a {self._what} {name!r} already, {_where(there)}; give yours another name"
            )
        self._held[name] = self._checked(name, value)

    def __delitem__(self, name: str) -> None:
        del self._held[name]

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys([*self._held, *self._plugins()])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def usable(self) -> dict[str, _T]:
        """All that can be had. A plugin that cannot be imported is logged, once, and left out."""
        found: dict[str, _T] = {}
        for name in self:
            try:
                found[name] = self[name]
            except PluginError as error:
                self._tell(name, str(error))
            if name in self._own and name in self._plugins():
                package = _package(self._plugins()[name][0])
                self._tell(
                    name, f"the {self._what} {name!r} of {package} is called as ours; left out"
                )
        return found

    def _tell(self, name: str, line: str) -> None:
        if name not in self._told:
            self._told.add(name)
            _log.warning("%s", line)

    def added(self) -> list[str]:
        """Names that are not the package's own."""
        return [name for name in self if name not in self._own]

    def origins(self) -> dict[str, str]:
        """Names of installed plugins → the package of each."""
        return {
            name: _package(found[0])
            for name, found in self._plugins().items()
            if name not in self._own
        }

    def _plugins(self) -> dict[str, list[EntryPoint]]:
        return _entries(f"a2m2_zoo.{self._what}s", tuple(sys.path))

    def _loaded(self, name: str) -> _T:
        found = self._plugins().get(name)
        if not found:
            raise KeyError(name)
        if len(found) > 1:
            packages = " and ".join(_package(one) for one in found)
            raise PluginError(
                f"two plugins have a {self._what} {name!r}, {packages}; uninstall one of them"
            )
        try:
            return self._checked(name, found[0].load())
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"the {self._what} {name!r} of {_package(found[0])} cannot be used: {said(error)}"
            ) from error

    def _checked(self, name: str, value: Any) -> _T:
        return value if self._check is None else self._check(name, value)


def import_files(paths: list[Path] | tuple[Path, ...]) -> None:
    """Run files that add to the tables, each once; one that cannot be run is logged and left out.

    Raises:
        ArgumentError: There is no such file.
    """
    for path in map(Path.resolve, paths):
        if not path.is_file():
            raise ArgumentError(f"there is no file {str(path)!r} to import; check the path")
        if _imported.get(path):
            continue
        try:
            _run(path)
            _imported[path] = True
        except (Exception, SystemExit) as error:
            _log.warning("%s cannot be imported: %s", path, said(error))


def imported_files() -> list[Path]:
    """The files that were run, for processes that are begun from this one."""
    return [path for path, sound in _imported.items() if sound]


def installed() -> bool:
    """Whether any package has a method or a backbone for this one."""
    return any(_entries(f"a2m2_zoo.{what}s", tuple(sys.path)) for what in ("method", "backbone"))


def _run(path: Path) -> None:
    name = f"a2m2_import_{len(_imported)}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ArgumentError("it is no Python file; expected one that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


@lru_cache(maxsize=8)
def _entries(group: str, path: tuple[str, ...]) -> dict[str, list[EntryPoint]]:
    """Entry points by name; read anew when ``sys.path``, given as ``path``, has changed."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=group):
        others = found.setdefault(entry.name, [])
        if entry.value not in [other.value for other in others] or _package(entry) not in [
            _package(other) for other in others
        ]:
            others.append(entry)
    return found


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value


def _where(value: Any) -> str:
    """Where a thing is defined."""
    first = value[0] if isinstance(value, tuple) else value
    module = getattr(first, "__module__", type(first).__name__)
    file = getattr(sys.modules.get(module), "__file__", None)
    if file and not module.startswith("a2m2_zoo."):
        module = os.fspath(file)
    return f"{getattr(first, '__qualname__', '')} of {module}"


def said(error: BaseException) -> str:
    """Kind and first line of somebody else's error."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first:.200}" if first else type(error).__name__
