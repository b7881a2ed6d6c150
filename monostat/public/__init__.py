"""What everybody can read: pages, feeds, the API, embeds, and the form for subscribers.

May import what it shows: `core`, `engine`, and the vendor that takes subscribers.
"""
