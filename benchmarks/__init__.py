"""How fast monostat is beside servers that do nothing else; `make bench` and `make soak`."""
