"""The websocket feed and those who watch it, thousands at a time; and the plainest requests,
answered at once.

May import what `public` may.
"""
