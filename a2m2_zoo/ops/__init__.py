"""Pure tensor functions: moments, roots, vectors, windows, marginals, transport, alignment, shots, fusion."""
