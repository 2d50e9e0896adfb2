"""The page in the browser: users drop a picture or a video and see it annotated frame by frame.

``access`` decides which requests are answered, ``users`` keeps each user's files apart, ``run`` annotates
one file, ``page`` is what the browser shows, and ``server`` joins them. Needs the extra ``[app]``.
"""
