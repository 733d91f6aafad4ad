"""Which method is best on your clips, and is the difference more than luck? Same episodes for all.

FOLDER holds one folder of clips per class; each needs a clip more than the shots. Every clip goes through
the backbone once; the second run starts from the cache.

python examples/compare_methods.py FOLDER [--way 5] [--shots 1,5] [--episodes 1000] [--methods a2m2,otam]
"""

import argparse

from a2m2_zoo import load_model
from a2m2_zoo.data.index import class_folders
from a2m2_zoo.evaluation.bench import Protocol
from a2m2_zoo.evaluation.compare import compare

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("--way", type=int, default=5)
parser.add_argument("--shots", default="1,5")
parser.add_argument("--episodes", type=int, default=1000)
parser.add_argument("--methods", default="a2m2,a2m2-diagonal,a2m2-otam,protonet,bimhm")
parser.add_argument("--cache", help="folder for what the backbone gives")
options = parser.parse_args()

shots = tuple(int(shot) for shot in options.shots.split(","))
found = compare(
    load_model(),
    class_folders(options.folder),
    methods=options.methods.split(","),
    protocol=Protocol(way=options.way, shots=shots, episodes=options.episodes),
    cache=options.cache,
)
print(f"{found.way}-way, {found.episodes} episodes, chance {found.chance:.0f} %")
for result in found.results:
    line = f"{result.shot}-shot {result.method:14} {result.accuracy:5.1f} ± {result.interval:.1f} %"
    if result.difference:
        line += f"  {result.difference.mean:+.1f} ± {result.difference.interval:.1f} to {found.reference}"
        line += f": {result.difference.verdict}"
    print(line)
for failure in found.failures:
    print(f"left out: {failure.kind} {failure.name}: {failure.reason}")
