"""What ``offloop demo`` shows: stories timed against an embedded server.

`server` is the server and its process, `stories` what is measured, `table` how it is drawn,
`show` what the command runs. Nothing is imported here: the server's process needs only `server`.
"""
