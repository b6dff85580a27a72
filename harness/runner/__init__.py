"""Running a suite: which runs are missing, where they execute, what happens when one dies."""
