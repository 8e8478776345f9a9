"""Where offloaded calls run: one module for each kind of worker."""
