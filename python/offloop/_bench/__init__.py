"""What ``offloop bench`` runs: offloop beside what is installed, on the machine of the user.

`contest` is what is compared with what, `worker` measures one contender in a process of its own,
`server` answers the fetches, `show` takes turns and prints. It is a look, not a laboratory: the
benchmarks of the repository pin cores, use nginx, and take longer.
"""
