"""The courses: suite files and task builders; no training code."""
