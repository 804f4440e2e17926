"""The server: a model that people talk to, and that learns from what they say about its answers."""
