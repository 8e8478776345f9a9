"""Negative controls: each guard of the fetcher is taken out, and the tests have to notice.

A guard whose removal no test notices is not tested. `removals` names each and says how it is taken
out of the source; `__main__` does so in a copy, builds it, and runs the tests against that build.
The package itself has no switch for this: what is shipped cannot be told to leave a guard out.

``PYTHONPATH=tests python -m controls [GUARD ...]``
"""
