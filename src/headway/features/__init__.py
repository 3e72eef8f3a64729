"""Features: one loop that embeds, one store that keeps what it found."""
