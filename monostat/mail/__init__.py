"""Hands mails over to Rapidmail, each once, and watches whether they leave.

May import `core`, `config` and `vendor`.
"""
