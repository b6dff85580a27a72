"""Training and evaluating difficulty predictors: the only part of ``harness`` that may import torch."""
