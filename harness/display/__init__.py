"""What a person sees while a command works: progress bars on a terminal, lines in a log."""
