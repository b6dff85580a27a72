"""Scripts that print ratios measured side by side in one run; no timing is asserted in tests."""
