"""The reward service: one implementation for every backend (see :mod:`harness.reward.service`)."""
