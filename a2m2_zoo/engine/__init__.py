"""Where many items are worked on: in this process, or on many machines by Ray.

A piece of work is made once for each worker, and then takes items and gives a result for each, in order.
Whatever is written so runs in both places::

    for place, result in run(clips, make_work, engine="ray"):
        ...
"""

from a2m2_zoo.engine.keyed import run_keyed
from a2m2_zoo.engine.place import Engine, Make, Ray, Work, as_engine
from a2m2_zoo.engine.run import in_order, run

__all__ = ["Engine", "Make", "Ray", "Work", "as_engine", "in_order", "run", "run_keyed"]
