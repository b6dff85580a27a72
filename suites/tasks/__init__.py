"""Task builders, one file each: they turn settings into :class:`harness.task.TaskData`, without torch."""
