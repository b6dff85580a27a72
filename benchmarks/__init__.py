"""Scripts that measure ratios side by side in one run; tests assert no timings."""
