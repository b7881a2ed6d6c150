"""Everything that staff see and do: messages, threads, dialogs, Home tabs, and what people tap and
say.

May import `core`, `config` and `vendor`.
"""
