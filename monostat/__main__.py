"""`python -m monostat` is the `monostat` command."""

from monostat.ops.cli import main

if __name__ == "__main__":
    main()
