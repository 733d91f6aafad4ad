"""From names to models and back: loading, computing, fetching, converting, exporting, publishing."""
