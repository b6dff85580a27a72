"""Tuning: the same number of trials on the same shared space for every strategy, the baseline included.

A trial is an ordinary run of the suite with other settings, on tuning seeds and validation questions. Nothing about a study is stored:
it is worked out from the ledgers of its runs whenever it is looked at (:mod:`harness.tuning.study`), so a crash cannot lose or
repeat a trial. What was found is frozen into a lock file (:mod:`harness.tuning.lock_file`) that ``halfway run`` uses.
"""
