"""verl on a machine without a GPU: a platform, an in-process rollout and two small patches, loaded only where they are asked for.

``VERL_USE_EXTERNAL_MODULES=backends.verl.cpu.plugin`` and ``VERL_PLATFORM=cpu`` switch it on (the adapter sets both for runs on the
CPU); without them not a line of it is imported, so verl on GPUs stays as it is shipped.
"""
