"""Where runs execute: worker processes on this machine, or actors on a Ray cluster."""
