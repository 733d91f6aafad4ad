"""One family of errors.

Each error also derives from the built-in that a caller would catch, and its message is one line that
says what was given, what was expected and what to do. The command line prints that line and nothing
else.
"""

from __future__ import annotations

from a2m2_zoo._utils.printable import printable


class A2M2Error(Exception):
    r"""Base of every error this package raises on purpose.

    Names from files and arguments are in many messages; none can add a line or steer a terminal.

    >>> str(A2M2Error("no class 'a\nb'"))
    "no class 'a\\nb'"
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class ArgumentError(A2M2Error, ValueError):
    """An argument is outside what the function accepts."""


class DependencyError(A2M2Error, ImportError):
    """An optional package is needed for what was asked and is not installed."""


class PluginError(A2M2Error, ImportError):
    """Another package's method or backbone cannot be imported, fails, or two have the same name."""


class VideoError(A2M2Error, ValueError):
    """A clip cannot be decoded, or holds nothing that can be used."""


class VideoNotFoundError(VideoError, FileNotFoundError):
    """There is no file, folder or array behind the clip that was named."""


class VideoLimitError(VideoError):
    """A clip is larger, longer or slower to decode than the limits in force."""


class EpisodeError(A2M2Error, ValueError):
    """Supports and queries do not make an episode: too few classes, clips or labels."""


class BankError(A2M2Error, ValueError):
    """A support bank is broken or belongs to another model."""


class ArchiveError(A2M2Error, ValueError):
    """An archive is missing, broken, none, or belongs to another model."""


class CheckpointError(A2M2Error, ValueError):
    """A checkpoint is missing, broken, or not the one that was announced."""


class ModelNotFoundError(A2M2Error, LookupError):
    """No model goes by that name."""


class WeightsNotReleased(A2M2Error, LookupError):  # noqa: N818 - it is a fact about a model, not a fault
    """The model is listed, and nobody has trained it yet."""


class FetchError(A2M2Error, OSError):
    """A file could not be fetched from the Hugging Face Hub. No other file was taken in its place."""


class SaveError(A2M2Error, OSError):
    """A result could not be written. Nothing half-written was left behind."""


class PublishError(SaveError):
    """A model could not be published, or not be read back. The message says what is on the Hub now."""


class ExportError(SaveError):
    """A model cannot be exported, or its export does not compute the same. Nothing was left behind."""


class EngineError(A2M2Error, RuntimeError):
    """A cluster is not there, lacks what is needed, or lost what it was given. What it answered counts."""


class RemoteError(A2M2Error, OSError):
    """What an address stands for cannot be had: not reached, refused, too large, or changed meanwhile.

    ``filename`` is the address, without a name, a password or a query; ``strerror`` says why and what to do.
    """

    def __str__(self) -> str:
        return printable(f"{self.filename}: {self.strerror}")


class RemoteNotFoundError(RemoteError, FileNotFoundError):
    """There is nothing at an address."""
