"""The engines: one adapter per training library, plus the torch code they share (``backends.common``)."""
