"""What an incident is, and what may happen to it: values, one decision, and the snapshot of what is
public.

Pure: it does no I/O, reads no clock and no chance, logs nothing, and imports nothing of ours.
"""
