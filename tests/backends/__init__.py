"""Tests of the backends, through their real trainers."""
