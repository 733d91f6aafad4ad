"""Name the action of a clip, given a folder with one folder of example clips per action.

python examples/classify.py QUERY.mp4 SUPPORTS
"""

import sys

from a2m2_zoo import classify

answer = classify(sys.argv[1], sys.argv[2])
for name, probability in answer.probabilities.items():
    print(f"{probability:6.1%}  {name}")
