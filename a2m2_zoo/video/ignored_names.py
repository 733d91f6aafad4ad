"""Names under which systems, network drives, cameras and players leave things in people's folders."""

from __future__ import annotations

import re

# fmt: off
_IGNORED = frozenset([
    # macOS
    "__macosx", ".ds_store", ".appledouble", ".apdisk", ".spotlight-v100", ".trashes", ".fseventsd",
    ".documentrevisions-v100", ".temporaryitems", "network trash folder", "temporary items", "icon\r",
    # Windows
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "recycler", "recycled",
    "system volume information",
    # Linux
    "lost+found", ".directory", ".thumbnails", ".xvpics", ".nfs",
    # Synology, QNAP and other network drives
    "@eadir", "#recycle", "@recycle", "#snapshot", "@recently-snapshot", "@tmp", "@sharebin", "@__thumb",
    ".@__thumb", ".@upload_cache", "@syno", ".snapshot", ".snapshots", ".zfs", "~snapshot",
    # Cameras and phones
    "thmbnl", "lost.dir", ".trashed", ".nomedia", "indexervolumeguid", "wpsettings.dat",
    # Editors and version control
    ".git", ".gitignore", ".gitattributes", ".gitkeep", ".keep", ".svn", ".hg", ".dvc", ".ipynb_checkpoints",
    "__pycache__", ".idea", ".vscode",
])
# Folders of pictures that stand for clips. The second lot are words for actions and places as well.
_THUMBNAILS = frozenset([
    "thumb", "thumbs", "thumbnail", "thumbnails", "preview", "previews", "poster", "posters", "trickplay",
    "extrathumbs", "extrafanart", "fanart", "backdrops", "artwork", "storyboard", "storyboards",
    "screenshot", "screenshots", "screencaps", "contactsheet", "contactsheets",
])
_LIKELY_THUMBNAILS = frozenset([
    "cover", "covers", "screens", "snapshots", "stills", "sprites", "icons", "keyframes",
])
# fmt: on
_LITTER_FORMS = re.compile(r"\._.*|found\.\d{3}|\.trash-\d+|.*@synoeastream|.*@synoresource", re.S)
# A longer name that ends so: "video_thumbs", "clip.trickplay".
_THUMBNAIL_END = re.compile(r".*[\W_](?:thumb|thumbnail|preview|poster|storyboard|trickplay)s?")
_PICTURE_END = re.compile(
    r"(.+?)[\W_]+(?:thumb|thumbnail|preview|poster|cover|still|small|tn|screenshot)s?"
)


def is_ignored_name(name: str) -> bool:
    """Whether a file or folder of that name belongs to another program, wherever it lies.

    >>> [is_ignored_name(n) for n in ("@eaDir", "._kick.mp4", "FOUND.000", "kick")]
    [True, True, True, False]
    """
    folded = name.casefold()
    return folded in _IGNORED or _LITTER_FORMS.fullmatch(folded) is not None


def is_thumbnail_name(name: str, *, sure: bool = False) -> bool:
    """Whether a folder of that name, if it holds pictures only, holds pictures of the clips beside it.

    Args:
        name: The folder's name.
        sure: Only names that could be nothing else.

    >>> [is_thumbnail_name(n) for n in ("Thumbnails", "contact_sheets", "kick_thumbs", "thumbs up")]
    [True, True, True, False]
    """
    folded = name.casefold()
    plain = re.sub(r"[\W_]", "", folded)
    if plain in _THUMBNAILS or _THUMBNAIL_END.fullmatch(folded):
        return True
    return not sure and plain in _LIKELY_THUMBNAILS


def without_thumbnail_name(stem: str) -> str:
    """The name of a picture without what marks it as the picture of another file.

    >>> without_thumbnail_name("kick-01_thumb"), without_thumbnail_name("kick-01")
    ('kick-01', 'kick-01')
    """
    found = _PICTURE_END.fullmatch(stem)
    return found[1] if found else stem
