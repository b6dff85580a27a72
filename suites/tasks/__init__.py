"""Task builders, one file each: settings in, :class:`harness.task.TaskData` out; no torch."""
