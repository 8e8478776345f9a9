"""``python -m offloop`` is the console command `offloop`."""

from offloop.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
