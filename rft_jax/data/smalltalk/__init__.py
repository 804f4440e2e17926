"""A small world and the English in which people chat about it; free of JAX."""
