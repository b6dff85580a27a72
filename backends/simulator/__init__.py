"""A policy that reacts without being a language model: latent skills under policy-gradient updates, fitted to a recorded run."""
