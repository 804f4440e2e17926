"""Learning from feedback: from events to weights that are served."""
