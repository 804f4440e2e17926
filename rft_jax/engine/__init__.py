"""The engine: answers to many at once, each by the adapters of its user."""
