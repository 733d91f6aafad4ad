"""Encode the supports once, keep them in a file, and answer a list of clips, the broken ones included.

python examples/bank.py SUPPORTS BANK.safetensors QUERY.mp4 ...
"""

import sys
from pathlib import Path

from a2m2_zoo import Prediction, SupportBank, build_bank, classify

supports, file, *queries = sys.argv[1:]
bank = SupportBank.load(file) if Path(file).exists() else build_bank(supports)
bank.save(file)
for query, answer in zip(queries, classify(queries, bank, on_error="return"), strict=True):
    if isinstance(answer, Prediction):
        print(f"{query}: {answer.label} ({answer.probability:.0%})")
    else:
        print(f"{query}: no answer: {answer}")
