"""History from elsewhere, and ours for others, in the shapes that others know: pure.

`reading.py` tells what a document is; `statuspage.py` and `django.py` make records of it, with the
help of `fields.py` and `bodies.py`; `exporting.py` writes ours in Statuspage's shape. It knows the
core, and Statuspage's words as the API has them.
"""
