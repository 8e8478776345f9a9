"""The Python half of the watchdog `offloop.watch`; imported when a watch begins.

`signals` has the loop's thread write its own stack, `loops` finds the loops, `helper` waits for
what the native thread has found and takes `look`s at the loop, `stall` is what users are given,
`mend` says what to write instead.
"""
