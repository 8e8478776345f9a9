"""Replays the HTTP exchanges of curl's regression suite through offloop, and compares.

The suite itself is no part of this repository: its `tests/data` directory is named on the command
line (Debian: ``apt-get source curl``). One file there is one case: what the server answers, what
the client is asked to do, and what the server must have seen.

* `case` reads such a file; `command` makes the client's command line into calls of offloop, or
  says why offloop has no such call.
* `server` answers from the case and notes each request; `compare` holds both sides against the
  case.
* `explained` lists, by number, where offloop differs on purpose.

``PYTHONPATH=tests python -m replay DATA [NUMBER ...]``
"""
