"""Pure tensor functions: moments, windows, marginals, transport, alignment, shots, fusion."""
