"""What a run writes and how it is read: ledger, checkpoints, run folders, locks."""
