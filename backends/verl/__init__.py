"""The verl engine: Halfway's seams on verl's v1 trainer (Ray, TransferQueue, agent loop, FSDP or Megatron)."""
