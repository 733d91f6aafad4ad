"""Data sets, plans of episodes, and the generator of moving figures."""
