"""A page in the browser that annotates users' pictures and videos frame by frame.

``access`` decides which requests are answered, ``users`` keeps users' files apart, ``run`` annotates a file,
``page`` defines the page, and ``server`` combines them. Needs the extra ``[app]``.
"""
