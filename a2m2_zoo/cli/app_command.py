"""`a2m2 app`: a page to try it, in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from a2m2_zoo.cli import options, output, signals
from a2m2_zoo.cli.grouped import grouped


@grouped
def app(
    *,
    host: Annotated[str, typer.Option("--host", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=0, max=65535, help="Port; 0 for any.", show_default="7860 or next"
        ),
    ] = None,
    model: options.BankModelOption = None,
    pose: options.PoseOption = True,
    supports: Annotated[
        Path | None,
        typer.Option(
            "--supports",
            "-s",
            help="Classes to begin with: a folder with one folder per class, or a bank.",
        ),
    ] = None,
    machine: options.Machine,
    max_upload_mb: Annotated[
        int, typer.Option("--max-upload-mb", min=1, max=10_000, help="Refuse larger files.")
    ] = 200,
    archive: Annotated[
        str | None,
        typer.Option(
            "--archive",
            help="Let visitors search this archive and play what they find, see a2m2 archive.",
        ),
    ] = None,
    public_origin: Annotated[
        str | None,
        typer.Option(
            "--public-origin",
            help="Where visitors open the page if a proxy stands before it: https://clips.example.org",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="Another name than this machine's own that visitors call the page by; may be given again.",
        ),
    ] = None,
) -> None:
    """Serve a page to try it: collect classes, ask about a clip, search a longer video.

    Only this machine reaches it unless --host says otherwise. Ctrl-C ends it and deletes what was uploaded.
    """
    from a2m2_zoo.app.headers import PublicOrigin, host_name
    from a2m2_zoo.app.limits import AppLimits
    from a2m2_zoo.app.serve import check_installed, is_loopback, serve

    check_installed()
    public = None if public_origin is None else PublicOrigin.parse(public_origin)
    for name in allow_host or ():
        host_name(name)  # before the model is loaded
    limits = AppLimits(upload_mb=max_upload_mb, held_mb=max(2000, 4 * max_upload_mb))
    chosen = Path() if supports is None else supports
    recogniser = options.open_model_for(model, chosen, machine, pose=pose)
    bank = None
    if supports is not None:
        from a2m2_zoo.cli.classify import read_supports

        bank, _ = read_supports(supports, recogniser, workers=None, limits=limits.video)
    opened = None
    if archive is not None:
        from a2m2_zoo.archive import Archive

        opened = Archive.open(archive, model=recogniser)
    if public is not None or not is_loopback(host):
        place, fix = (
            (host, "leave --host out")
            if public is None
            else (public.url, "leave --public-origin out")
        )
        output.complain(
            f"{place} is reached from other machines, and the page asks nobody who they are: whoever can "
            f"reach it can upload and compute; {fix} to keep it to this machine"
        )

    def ready(address: str) -> None:
        print(address, flush=True)
        output.say("Ctrl-C ends it and deletes what was uploaded", to=output.stderr)

    signals.give_back()  # the server has its own way to end
    serve(
        recogniser,
        host=host,
        port=port,
        supports=bank,
        limits=limits,
        public=public,
        archive=opened,
        allow=allow_host or (),
        on_ready=ready,
    )
