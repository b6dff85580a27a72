"""The TRL engine: Halfway's seams on the real ``GRPOTrainer``."""
