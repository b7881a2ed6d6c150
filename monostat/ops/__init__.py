"""For operators: the command line, the control socket, metrics, supervision, and what systemd is
told.

May import what it shows and starts; only the composition root and the command line import it.
"""
