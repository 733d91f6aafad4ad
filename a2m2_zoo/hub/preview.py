"""A dry run: the folder that would be published, and how it differs from what is on the Hub."""

from __future__ import annotations

import difflib
import shutil
import tempfile
from pathlib import Path

from a2m2_zoo._utils.files import new_folder, write_atomically
from a2m2_zoo._utils.printable import printable
from a2m2_zoo._utils.scratch import is_scratch, sweep
from a2m2_zoo.errors import ArgumentError, SaveError
from a2m2_zoo.hub._client import failures, quiet_client, reason
from a2m2_zoo.hub._guard import OURS, guard, is_commit
from a2m2_zoo.hub.publish import Bundle, is_receipt


def write_folder(bundle: Bundle, folder: Path) -> None:
    """Write the files that would be published.

    Args:
        bundle: The files.
        folder: A new or empty folder, or one that an earlier dry run wrote.

    Raises:
        ArgumentError: The folder holds other files.
        SaveError: It cannot be written.
    """
    try:
        if not folder.exists():
            _write_new(bundle, folder)
            return
        sweep(folder)
        others = {path.name for path in folder.iterdir() if not is_scratch(path.name)}
        strange = {n for n in others - set(bundle.files) if not is_receipt(n)}
        if strange:
            raise ArgumentError(
                f"{str(folder)!r} holds other files ({', '.join(sorted(strange)[:4])}); name a new folder"
            )
        for name in others - set(bundle.files):
            (folder / name).unlink()
    except SaveError:
        raise
    except OSError as error:
        raise SaveError(
            f"cannot make {str(folder)!r}: {error.strerror or error}; name a new folder"
        ) from error
    for name, content in bundle.files.items():
        _write(folder / name, content)


def _write_new(bundle: Bundle, folder: Path) -> None:
    """All files at once: the folder appears whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(folder) as scratch:
        for name, content in bundle.files.items():
            _write(scratch / name, content)


def _write(path: Path, content: bytes | Path) -> None:
    if isinstance(content, bytes):
        write_atomically(path, lambda scratch: scratch.write_bytes(content))
    else:
        write_atomically(path, lambda scratch: shutil.copyfile(content, scratch))


def difference(bundle: Bundle) -> str:
    """How the files differ from the repository's newest commit, as text; only reads.

    The card, the configuration and receipts as a unified diff, weights by size and hash.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    with quiet_client(), tempfile.TemporaryDirectory() as cache:
        try:
            guard()
            api = HfApi(**OURS)
            info = api.model_info(bundle.repo_id, files_metadata=True, timeout=10)
            if not is_commit(info.sha):
                return f"not compared with the Hub: it names {str(info.sha)[:80]!r} as a commit"
            there = {sibling.rfilename: sibling for sibling in info.siblings or []}
            parts = [f"{bundle.repo_id} is at commit {info.sha}"]
            for name, content in bundle.files.items():
                if not isinstance(content, bytes):
                    new = (bundle.size(name), bundle.sha256[name])
                    lfs = there[name].lfs if name in there else None
                    parts.append(
                        _weights(name, None if lfs is None else (lfs.size, lfs.sha256), new)
                    )
                    continue
                before = b""
                if name in there:
                    before = Path(
                        api.hf_hub_download(
                            bundle.repo_id, name, revision=info.sha, cache_dir=cache
                        )
                    ).read_bytes()
                parts.append(_text(name, before, content))
            gone = sorted(n for n in set(there) - set(bundle.files) if is_receipt(n))
            parts += [f"{printable(name)}: would be removed" for name in gone]
        except RepositoryNotFoundError:
            return f"{bundle.repo_id} is not on the Hub yet, or hidden from you: all files are new"
        except failures() as error:
            return f"not compared with the Hub: {reason(error, bundle.repo_id)}"
    return "\n".join(parts)


def _weights(name: str, old: tuple[int, str] | None, new: tuple[int, str]) -> str:
    if old == new:
        return f"{name}: unchanged"
    before = "" if old is None else f"{old[0]:,} bytes, sha256 {old[1]} -> "
    return f"{name}: {before}{new[0]:,} bytes, sha256 {new[1]}{' (new)' if old is None else ''}"


def _text(name: str, before: bytes, after: bytes) -> str:
    if before == after:
        return f"{name}: unchanged"
    old, new = (part.decode("utf-8", "replace").splitlines() for part in (before, after))
    found = difflib.unified_diff(old, new, f"hub/{name}", f"new/{name}", lineterm="")
    # What the Hub holds is a stranger's: nothing of it may steer a terminal.
    return "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in found)
