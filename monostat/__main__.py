"""`python -m monostat` is the `monostat` command."""

from monostat.cli import main

if __name__ == "__main__":
    main()
