"""Finding in a large archive: seconds, memory, and how many of the best by exhaustive A² are found.

    python benchmarks/archive_find.py ../shared/videos/jhmdb ../shared/videos/ut_interaction --at archive

Windows are real descriptors plus the difference of two others, which is noise as real ones differ. So many as
``--whole`` says are kept whole and compared exhaustively; the ``--windows`` of the large archive have search
vectors of their own (those of the whole ones and noise) and share their descriptors, so that the disk holds
them. Each question is five real clips of one class. Prints a JSON receipt.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _folders import opened, parser
from _receipt import publish, receipt
from torch import Tensor
from torch.nn import functional

from a2m2_zoo import load_model
from a2m2_zoo.archive.archive import Archive
from a2m2_zoo.archive.asking import REACH, Asking, Found
from a2m2_zoo.archive.codec import Codec
from a2m2_zoo.archive.rows import ClipRows, Window
from a2m2_zoo.archive.schemas import vector_column, windows_schema
from a2m2_zoo.archive.store import Store, open_store
from a2m2_zoo.archive.writing import Writer
from a2m2_zoo.methods.base import concatenate, take
from a2m2_zoo.recognition.bank import SupportBank
from a2m2_zoo.recognition.model import Model

SHOTS, QUESTIONS, K = 5, 8, 50
_BATCH = 256
_SPREAD = 0.02  # of the noise on each value of a shared window's search vector


class Shared(Store):
    """The large archive: its windows say which whole window's descriptors are theirs."""

    whole: Store

    def taken(self, ids: Any, columns: Any) -> Any:
        """Windows with the descriptors of the whole ones that they name."""
        return self._given(super().taken(ids, columns))

    def at(self, offsets: Any, columns: Any) -> Any:
        """See ``taken``."""
        return self._given(super().at(offsets, columns))

    def _given(self, rows: Any) -> Any:
        import pyarrow as pa

        named = [int.from_bytes(value, "little") for value in rows["descriptors"].to_pylist()]
        unique = sorted(set(named))
        held = self.whole.table("windows").take_offsets(unique).select(["start", "descriptors"])
        found = held.to_arrow().to_pylist()
        by = {int(row["start"]): row["descriptors"] for row in found}
        column = pa.array([by[name] for name in named], pa.binary())
        return rows.set_column(rows.schema.get_field_index("descriptors"), "descriptors", column)


def drawn(real: dict[str, Tensor], count: int, chance: torch.Generator) -> dict[str, Tensor]:
    """Real clips plus the difference of two others."""
    total = len(real["moments"])
    base, one, other = (torch.randint(total, (count,), generator=chance) for _ in range(3))
    made = {}
    for name, value in real.items():
        some = value[base]
        if name != "people":
            empty = some.norm(dim=-1, keepdim=True) == 0
            some = functional.normalize(some + value[one] - value[other], dim=-1)
            some = some.masked_fill(empty, 0.0)
        made[name] = some
    return made


def fill(real: dict[str, Tensor], model: Model, at: Path, count: int, seed: int) -> Archive:
    """The archive of whole windows."""
    archive = Archive._new(at, model, None)
    writer = Writer(archive._store, model, archive._codec)
    chance = torch.Generator().manual_seed(seed)
    for start in range(0, count, _BATCH):
        made = drawn(real, min(_BATCH, count - start), chance)
        for i, packed in enumerate(archive._codec.pack(made)):
            number = start + i
            key = f"{number:064x}"
            window = Window(float(number), number + 1.0, 0.0, packed, b"")
            writer.put(ClipRows(key, f"/made/{number}", "", (window,), 1.0))
        if start % (64 * _BATCH) == 0:
            print(f"{start} windows made", file=sys.stderr, flush=True)
    writer.flush()
    archive._store.note(writing=False)
    archive._store.tidy()
    return archive


def share(whole: Store, at: Path, count: int, seed: int) -> None:
    """The large archive."""
    at.mkdir()
    for name in ("record", "bases", "clips"):
        shutil.copytree(Path(whole.uri) / f"{name}.lance", at / f"{name}.lance")
    rows = whole.rows("windows", ["key", "start", "vector"])
    vectors = np.stack([np.asarray(v, np.float16) for v in rows["vector"].to_numpy()])
    keys, numbers = rows["key"].to_pylist(), rows["start"].to_numpy().astype(int)
    basis = int((whole.table("windows").schema.metadata or {})[b"basis"])
    schema = windows_schema(vectors.shape[1], basis)
    import lancedb
    import pyarrow as pa

    table = lancedb.connect(str(at)).create_table("windows", schema=schema)
    chance = np.random.default_rng(seed)
    for start in range(0, count, 50_000):
        size = min(50_000, count - start)
        picked = chance.integers(len(keys), size=size)
        noise = chance.normal(0, _SPREAD, (size, vectors.shape[1])).astype(np.float32)
        made = (vectors[picked] + noise).astype(np.float16)
        columns = [
            [keys[i] for i in picked],
            (start + np.arange(size)).astype(float),
            (start + 1 + np.arange(size)).astype(float),
            np.zeros(size, np.float32),
            vector_column(made),
            [int(numbers[i]).to_bytes(4, "little") for i in picked],
            [b""] * size,
        ]
        table.add(
            pa.table(
                [pa.array(c) if isinstance(c, np.ndarray) else c for c in columns],
                schema=schema.remove_metadata(),
            )
        )
        print(f"{start + size} windows shared", file=sys.stderr, flush=True)


def bank_of(support: dict[str, Tensor], model: Model) -> SupportBank:
    """Supports of one class."""
    return SupportBank(
        class_names=("action",),
        labels=(0,) * SHOTS,
        descriptors=support,
        thumbnails=torch.zeros(SHOTS, 1, 1, 1, 3, dtype=torch.uint8),
        sources=("",) * SHOTS,
        model=model.id,
        weights_hash=model.weights_hash,
    )


def ask(at: Path, large: Path | None, questions: Path) -> dict[str, Any]:
    """Seconds of ``find`` and the peak of memory, in a process that does nothing else."""
    model = load_model()
    whole = open_store(at)
    store = whole
    if large is not None:
        held = open_store(large)
        store = Shared(held.uri, held._database, held.record)
        store.whole = whole
    codec = Codec.from_dict(store.record["codec"])
    supports = torch.load(questions)
    asking = Asking(store, model, codec)
    before = peak()
    seconds, computed = [], []
    for support in supports:
        started, used = time.perf_counter(), time.process_time()
        hits = asking.find(bank_of(support, model), K)
        seconds.append(time.perf_counter() - started)
        computed.append(time.process_time() - used)
        assert len(hits) == K
    started = time.perf_counter()
    for support in supports:
        vector = asking._vector(support)
        assert vector is not None
        store.nearest(vector, REACH)
    searched = (time.perf_counter() - started) / len(supports)
    return {
        "windows": store.count,
        "indexed": store.indexed(),
        "first_seconds": round(seconds[0], 3),
        "median_seconds": round(float(np.median(seconds[1:])), 3),
        "median_cpu_seconds": round(float(np.median(computed[1:])), 3),
        "search_alone_seconds": round(searched, 3),
        "peak_memory_mb": peak(),
        "of_it_before_the_first_question_mb": before,
        "load_average": round(os.getloadavg()[0], 1),
    }


def peak() -> int:
    """The most memory that this process has held, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024)


def exhaustive(at: Path, questions: Path, most: int) -> Tensor:
    """The mean score of each of the first windows with each question's supports, (windows, questions)."""
    model, store = load_model(), open_store(at)
    supports = torch.load(questions)
    joined = concatenate(supports)
    asking = Asking(store, model, Codec.from_dict(store.record["codec"]))
    scores = torch.zeros(most, len(supports))
    done = 0
    for batch in store.batches(("start", "descriptors"), 1024):
        rows = [row for row in batch.to_pylist() if row["start"] < most]
        if not rows:
            continue
        pairs = asking._pairs(joined, Found(rows, {}), range(len(rows)))
        places = torch.tensor([int(row["start"]) for row in rows])
        scores[places] = pairs.view(len(rows), len(supports), SHOTS).mean(-1).float()
        done += len(rows)
        if done % (16 * 1024) == 0:
            print(f"{done} windows compared", file=sys.stderr, flush=True)
    return scores


def recall(
    at: Path, large: Path, questions: Path, scores: Tensor, sizes: list[int]
) -> list[dict[str, Any]]:
    """Of the 50 best by A² over all windows, how many the search brings."""
    model, store, many = load_model(), open_store(at), open_store(large)
    codec = Codec.from_dict(store.record["codec"])
    rows = store.rows("windows", ("start", "vector"), where=f"start < {max(sizes)}").sort_by(
        "start"
    )
    flat = torch.from_numpy(np.stack(rows["vector"].to_numpy()).astype(np.float32))
    named = many.rows("windows", ["descriptors"])["descriptors"].to_pylist()
    copies = torch.tensor([int.from_bytes(value, "little") for value in named])
    reaches = (250, 500, REACH, 2 * REACH)
    shares: dict[tuple[int, int], list[float]] = {}
    for i, support in enumerate(torch.load(questions)):
        vector = Asking(store, model, codec)._vector(support)
        assert vector is not None
        for size in sizes:
            least = scores[:size, i].topk(K).values[-1]
            order = (flat[:size] @ torch.from_numpy(vector)).argsort(descending=True)
            for reach in reaches:
                good = int((scores[order[:reach], i] >= least).sum())
                shares.setdefault((size, reach), []).append(min(good, K) / K)
        # Of the large archive's windows many are equal: any that are as good as the 50th count.
        if len(scores) == store.count:
            least = scores[copies, i].topk(K).values[-1]
            ids = many.nearest(
                np.asarray(Asking(many, model, codec)._vector(support)), max(reaches)
            )
            given = many.taken(ids, ["descriptors"])["descriptors"].to_pylist()
            brought = torch.tensor([int.from_bytes(value, "little") for value in given])
            for reach in reaches:
                good = int((scores[brought[:reach], i] >= least).sum())
                shares.setdefault((len(copies), reach), []).append(min(good, K) / K)
    return [
        {"windows": size, "reach": reach, "recall_at_50": round(float(np.mean(found)), 4)}
        for (size, reach), found in shares.items()
    ]


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--at", type=Path, required=True)
    given.add_argument("--whole", type=int, default=50_000)
    given.add_argument("--windows", type=int, default=1_000_000)
    given.add_argument(
        "--exhaustive", type=int, help="windows compared one by one; all whole ones unless given"
    )
    given.add_argument("--index", action="store_true", help="ask it with an index, too")
    given.add_argument("--ask", choices=("whole", "large"))
    options = given.parse_args()
    whole, large, questions = (options.at / n for n in ("whole", "large", "questions.pt"))
    if options.ask:
        print(json.dumps(ask(whole, large if options.ask == "large" else None, questions)))
        return
    model = load_model()
    options.at.mkdir(exist_ok=True)
    seconds: dict[str, float] = {}
    if not questions.exists():
        parts, supports = [], []
        for folder in opened(options, model):
            encoded = folder.encoded(model.method)
            parts.append(encoded)
            for label in range(int(folder.labels.max()) + 1):
                members = (folder.labels == label).nonzero()[:SHOTS, 0]
                supports.append(take(encoded, members))
        step = max(len(supports) // QUESTIONS, 1)
        torch.save(supports[::step][:QUESTIONS], questions)
        started = time.perf_counter()
        fill(concatenate([*parts]), model, whole, options.whole, options.seed)
        seconds["whole"] = round(time.perf_counter() - started, 1)
    store = open_store(whole)
    if not large.exists():
        share(store, large, options.windows, options.seed)

    def asked(which: str) -> dict[str, Any]:
        command = [sys.executable, __file__, *map(str, options.folders), "--at", str(options.at)]
        run = subprocess.run(
            [*command, "--ask", which], stdout=subprocess.PIPE, text=True, check=True
        )
        found: dict[str, Any] = json.loads(run.stdout)
        print(found, file=sys.stderr, flush=True)
        return found

    def kept(name: str, make: Any) -> Any:
        """What was measured before in this folder is not measured again."""
        file = options.at / f"{name}.json"
        if not file.exists():
            file.write_text(json.dumps(make()))
        return json.loads(file.read_text())

    results = [kept("find-whole", lambda: asked("whole"))]
    if not open_store(large).indexed():
        results.append(kept("find", lambda: asked("large")))
    if options.index:
        if not open_store(large).indexed():
            started = time.perf_counter()
            open_store(large).index()
            seconds["index"] = round(time.perf_counter() - started, 1)
        results.append(kept("find-index", lambda: asked("large")))
    most = min(options.exhaustive or store.count, store.count)
    scored = options.at / "scores.pt"
    if not scored.exists() or len(torch.load(scored)) < most:
        torch.save(exhaustive(whole, questions, most), scored)
    scores = torch.load(scored)
    sizes = sorted({min(size, most) for size in (1000, 10_000, most)})
    compared = kept("recall", lambda: recall(whole, large, questions, scores, sizes))
    size = sum(f.stat().st_size for f in options.at.rglob("*") if f.is_file())
    facts = receipt(
        model=model.id,
        weights=model.weights_hash,
        supports=SHOTS,
        k=K,
        reach=REACH,
        questions=QUESTIONS,
        whole=store.count,
        bytes=size,
        seconds=seconds,
        find=results,
        recall=compared,
    )
    publish(facts, options.out)


if __name__ == "__main__":
    main()
