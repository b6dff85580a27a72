"""One training step, independent of the backend: select, roll out, admit, replay, account."""
