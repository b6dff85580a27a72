"""Torch code that every engine shares: decoder, evaluator, embedded models, embeddings."""
