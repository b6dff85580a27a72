"""Strategies played against recorded pass rates: how well they select, in seconds and without a model.

The policy in a recording does not react to the selection. What is measured is selection quality, never accuracy.
"""
