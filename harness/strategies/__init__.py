"""The strategies that ship with Halfway, one short file each."""
