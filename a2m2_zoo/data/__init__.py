"""Data sets, plans of episodes and draws by them."""
