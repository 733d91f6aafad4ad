"""What very many hours take, for docs/explanation/scale.md: receipts times what is assumed here."""

from __future__ import annotations

from receipts import markdown, receipt

#: What nobody has measured: choices, prices and an aim.
ASSUMED = {
    "hours": 1e6,  # of video
    "window": 2.56,  # seconds of one, as long as the clips of the receipt; one begins where another ends
    "machine": 64,  # cores of one
    "price": 0.04,  # dollars of a core for an hour, an example
    "bytes": 40e3,  # of a window in an archive, its aim
    "keep": 23.0,  # dollars of 10^12 bytes for a month, an example
}
RUNTIMES = {
    "torch": "torch",
    "torch_no_people": "torch, `--no-pose`",
    "onnxruntime": "onnxruntime",
    "onnxruntime_no_people": "onnxruntime, `--no-pose`",
}


def windows() -> float:
    """How many windows that is."""
    return ASSUMED["hours"] * 3600 / ASSUMED["window"]


def core_hours(runtime: str) -> float:
    """Of decoding, encoding and comparing them all."""
    found: float = receipt("folder")["results"][runtime]["cpu_ms_per_clip"]
    return windows() * found / 1000 / 3600


def scale(what: str) -> str:
    """A figure of the page."""
    stored = windows() * ASSUMED["bytes"]
    return {
        "hours": f"{ASSUMED['hours']:,.0f}",
        "window": f"{ASSUMED['window']}",
        "machine": f"{ASSUMED['machine']:.0f}",
        "price": f"{ASSUMED['price']}",
        "bytes": f"{ASSUMED['bytes'] / 1e3:.0f}",
        "keep": f"{ASSUMED['keep']:.0f}",
        "windows": f"{windows() / 1e9:.1f} · 10⁹",
        "stored": f"{stored / 1e12:.0f}",
        "kept": f"{stored / 1e12 * ASSUMED['keep']:,.0f}",
    }[what]


def scale_table() -> str:
    """Core-hours, machines and money for each runtime."""
    rows = []
    for runtime, name in RUNTIMES.items():
        found = core_hours(runtime)
        machines = found / (ASSUMED["machine"] * 24 * 30)
        rows.append([name, f"{found:,.0f}", f"{machines:.1f}", f"{found * ASSUMED['price']:,.0f}"])
    return markdown(
        ["", "core-hours", f"machines of {ASSUMED['machine']:.0f} cores for 30 days", "dollars"],
        rows,
    )
